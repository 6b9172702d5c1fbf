"""Small files as tools for labelling, and sets of the field, write them: what `src.look` proposes
for each, and what cannot be read with the words that help. The rows are made up.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from src.data.reading.sources import Source
from src.data.rows.token_labels import EntitySpan, TokenLabels
from src.look import main
from tests.data.reading.test_readers import put

ROWS = [(f"it was the {n} good day", "ab"[n % 2]) for n in range(12)]


def _write_lines(items: list[Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def _result(label: str) -> dict[str, Any]:
    return {"value": {"choices": [label]}, "from_name": "mood", "type": "choices"}


class Case(NamedTuple):
    """Files by their names, and what look says of them: a proposal, or why they are not read."""

    files: dict[str, str]
    words: list[str]
    code: int


def _propose(files: dict[str, str], words: list[str]) -> Case:
    return Case(files, words, 0)


def _refuse(files: dict[str, str], words: list[str]) -> Case:
    return Case(files, words, 2)


CASES = {
    "Label Studio": _propose(
        {
            "a.json": json.dumps(
                [{"data": {"text": t}, "annotations": [{"result": [_result(x)]}]} for t, x in ROWS]
            )
        },
        ["label=annotations.result.value.choices", "2 different labels: a 6, b 6"],
    ),
    "Label Studio's JSON-MIN with several labels": _propose(
        {
            "a.json": json.dumps(
                [{"text": t, "mood": {"choices": ["a", "b"]} if x == "a" else x} for t, x in ROWS]
            )
        },
        ["label=mood", "2 different labels: b 12, a 6"],
    ),
    "Argilla": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {"fields": {"text": t}, "responses": {"mood": [{"value": x, "user_id": "u"}]}}
                    for t, x in ROWS
                ]
            )
        },
        ["text=fields.text, label=responses.mood.value", "2 different labels: a 6, b 6"],
    ),
    "Kili": _propose(
        {
            "a.json": json.dumps(
                [
                    {
                        "content": t,
                        "labels": [{"jsonResponse": {"MOOD": {"categories": [{"name": x}]}}}],
                    }
                    for t, x in ROWS
                ]
            )
        },
        ["label=labels.jsonResponse.MOOD.categories.name"],
    ),
    "Prodigy's choices": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "text": t,
                        "options": [{"id": "a", "text": "A"}, {"id": "b", "text": "B"}],
                        "accept": [x],
                    }
                    for t, x in ROWS
                ]
            )
        },
        ["text=text, label=accept"],
    ),
    "Rasa": _propose(
        {
            "a.json": json.dumps(
                {
                    "rasa_nlu_data": {
                        "common_examples": [{"text": t, "intent": x} for t, x in ROWS],
                        "lookup_tables": [],
                    }
                }
            )
        },
        ["rows: train 12", "text=text, label=intent"],
    ),
    "SageMaker": _propose(
        {
            "a.manifest": _write_lines(
                [
                    {
                        "source": t,
                        "mood": int(x == "a"),
                        "mood-metadata": {"confidence": 0.9, "human-annotated": "yes"},
                    }
                    for t, x in ROWS
                ]
            )
        },
        ["text=source, label=mood", "format=jsonl"],
    ),
    "StarSpace": _propose(
        {"a.txt": "".join(f"{t} __label__{x}\n" for t, x in ROWS)},
        ["format: label_first", "__label__a 6"],
    ),
    "Orange": _propose(
        {"a.tsv": "text\tmood\nstring\td\nmeta\tclass\n" + "".join(f"{t}\t{x}\n" for t, x in ROWS)},
        ["skip_rows=3, columns=[text, mood]", "a 6, b 6"],
    ),
    "GermEval 2018": _propose(
        {"a.tsv": "".join(f"{t}\t{x}\t{x}\n" for t, x in ROWS)},
        ["rows: train 12", "header=False"],
    ),
    "arXiv": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "abstract": t,
                        "categories": ["cs.CL", "cs.LG", "cs.CL cs.LG", "cs.LG cs.CL"][n % 4],
                    }
                    for n, (t, _) in enumerate(ROWS)
                ]
            )
        },
        ["label_separator=space", "cs.CL 9, cs.LG 9"],
    ),
    "ANLI": _propose(
        {
            "a.jsonl": _write_lines(
                [{"context": t, "hypothesis": f"so {t}", "label": x} for t, x in ROWS]
            )
        },
        ["text=context, pair=hypothesis, label=label"],
    ),
    "MASSIVE": _propose(
        {
            "a.jsonl": _write_lines(
                [{"intent": x, "utt": t, "annot_utt": f"{t} [day : it]"} for t, x in ROWS]
            )
        },
        ["text=utt, label=intent"],
    ),
    "BioBERT": _propose(
        {
            f"{split}.tsv": "the\tO\ncell\tB\nline\tI\n\na\tO\ngene\tB\n\n"
            for split in ("train", "devel")
        },
        ["format=conll", "entities: entity 4", "validation: devel.tsv"],
    ),
    "Few-NERD": _propose(
        {"a.txt": "the\tO\ncity\tO\nof\tO\nRome\tplace-city\n\nAda\tperson\nran\tO\n\n" * 2},
        ["format=conll", '"the city of Rome"'],
    ),
    "GitHub's issues": _propose(
        {
            "a.json": json.dumps(
                [
                    {
                        "body": t,
                        "state": "ab"[n % 3 == 0],
                        "labels": [{"id": f"L{x}", "name": x, "description": f"of {x}"}],
                    }
                    for n, (t, x) in enumerate(ROWS)
                ]
            )
        },
        ["text=body, label=labels.name"],
    ),
    "messages of chats": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "messages": [
                            {"role": "system", "content": "Judge."},
                            {"role": "user", "content": t},
                            {"role": "assistant", "content": x},
                        ]
                    }
                    for t, x in ROWS
                ]
            )
        },
        ["text=messages.user, label=messages.assistant", "a 6, b 6"],
    ),
    "who wrote a text is no label": _propose(
        {
            "a.json": json.dumps(
                {"messages": [{"content": t, "author": {"nickname": x}} for t, x in ROWS]}
            )
        },
        ["guessed columns: text=content to train", "masked_lm"],
    ),
    "a text as a list of paragraphs": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "title": f"case {t[11:13]}",
                        "facts": [t, *[f"And {t}"] * (len(t) % 2)],
                        "violated": [x, "c"],
                    }
                    for t, x in ROWS
                ]
            )
        },
        ["text=facts, label=violated", "3 different labels: c 12, a 6, b 6"],
    ),
    "numbers of many classes": _propose(
        {"a.tsv": "".join(f"{ROWS[n % 12][0]} {n}\t{n % 24}\n" for n in range(96))},
        ["classification", "the 24 whole numbers of 1 are taken for classes"],
    ),
    "i2b2": _propose(
        {
            "txt/1.txt": "He had a fever .\n",
            "concept/1.con": 'c="a fever" 1:2 1:3||t="problem"\n',
        },
        ["masked_lm", "not read: concept/1.con, annotations of i2b2"],
    ),
    "SemEval's toxic spans": _propose(
        {
            "a.csv": "spans,text\n"
            + "".join(f'"[7, 8, 9, {10 + n}]",{t}\n' for n, (t, _) in enumerate(ROWS))
        },
        ["spans: lists of the places of characters", "masked_lm"],
    ),
    "CLUENER": _propose(
        {
            "a.json": _write_lines(
                [{"text": t, "label": {"day": {t[11:13]: [[11, 12]]}}} for t, _ in ROWS]
            )
        },
        ["label: objects whose keys differ from row to row (label.day."],
    ),
    "GoEmotions": _propose(
        {
            "a.tsv": "".join(
                f"{t}\t{x}\te{n}\n"
                for n, ((t, _), x) in enumerate(
                    zip(ROWS * 2, ["5,22", *("3", "4", "5", "3,5", "4,6", "6") * 4], strict=False)
                )
            )
        },
        ["rows: train 24", "header=False, label_separator=comma"],
    ),
    "WikiANN": _propose(
        {"train": "en:Ada\tB-PER\nen:ran\tO\n\nen:Rome\tB-LOC\n\n" * 3},
        ['"Ada ran"', "whose words begin with their language (en:), which is left out"],
    ),
    "a chat of WhatsApp": _propose(
        {
            "a.txt": "".join(
                f"[12/03/21, 10:{n}:33] Ann: {t}\n" + "and so on\n" * (n % 3 == 0)
                for n, (t, _) in enumerate(ROWS * 2, 10)
            )
        },
        ["format: text", "masked_lm"],
    ),
    "a test split whose labels are kept back": _propose(
        {
            f"{split}.tsv": "text\tlabel\n"
            + "".join(f"{t}\t{x if split == 'train' else 'b'}\n" for t, x in ROWS)
            for split in ("train", "test")
        },
        ["all rows of test have the label 'b'", "data.source.test=null"],
    ),
    "EUR-Lex, a file for each row": _propose(
        {
            f"train/{n}.json": json.dumps(
                {"id": f"e{n}", "body": [t, *[f"And {t}"] * (n % 3)], "concepts": [x, "c"]}
            )
            for n, (t, x) in enumerate(ROWS)
        },
        ["text=body, label=concepts", "c 12, a 6, b 6"],
    ),
    "HateXplain": _propose(
        {
            "a.json": json.dumps(
                {
                    f"{n}_gab": {
                        "post_tokens": [f"{word}{n}" for word in t.split()],
                        "annotators": [{"label": x, "id": 1}, {"label": "c", "id": 2}],
                        "rationales": [[0] * 6],
                    }
                    for n, (t, x) in enumerate(ROWS)
                }
            )
        },
        ["text=post_tokens, label=annotators.label", "multi_label"],
    ),
    "texts in another table": _propose(
        {
            "train.csv": "id,note,marks\n" + "".join(f"r{n},{n % 4},{n % 2}\n" for n in range(12)),
            "notes.csv": "note,history\n" + "".join(f"{n},{t}\n" for n, (t, _) in enumerate(ROWS)),
        },
        ["no column looks like a text: name one with data.source.text=COLUMN; or is it in notes"],
    ),
    "HellaSwag": _propose(
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "ctx": f"And {t}",
                        "endings": [f"{t} of {k}" for k in range(4)],
                        "label": n % 4,
                    }
                    for n, (t, _) in enumerate(ROWS)
                ]
            )
        },
        ["text=ctx, label=label", "endings: 4 texts in each row, as the choices of a question"],
    ),
    "labels of several people": _propose(
        {"a.csv": "text,annotator_1,annotator_2\n" + "".join(f"{t},{x},{x}\n" for t, x in ROWS)},
        ["label=annotator_1", "and so would be annotator_2 (2 different)"],
    ),
    "GermEval 2017": _propose(
        {
            "a.tsv": "".join(
                f"http://x.example/{n}\t{t}\ttrue\tpos\n" for n, (t, _) in enumerate(ROWS)
            )
        },
        ["rows: train 12", "header=False"],
    ),
    "JSON by id": _propose(
        {
            "a.json": json.dumps(
                {f"q{n}": {"utterance": t, "mood": x} for n, (t, x) in enumerate(ROWS)}
            )
        },
        ["rows: train 12", "text=utterance, label=mood"],
    ),
    "GermEval 2014": _propose(
        {"a.tsv": "#\tde.example [2009]\n1\tIn\tO\tO\n2\tRom\tB-LOC\tO\n\n" * 3},
        ["format=conll", "entities: LOC 3", '"In Rom"'],
    ),
    "parts of Spark": _propose(
        {
            f"part-0000{n}": _write_lines([{"text": t, "label": x} for t, x in ROWS])
            for n in range(2)
        }
        | {"_SUCCESS": ""},
        ["format=jsonl", "rows: train 24"],
    ),
    "Reuters-21578 of NLTK": _propose(
        {"cats.txt": "training/1 cocoa\n", "training/1": "cocoa\n", "test/2": "sugar\n"},
        ["not read: test/2, training/1"],
    ),
    "LIBSVM": _refuse(
        {"a.txt": "".join(f"{n % 2} 1:0.5 {n + 2}:1\n" for n in range(12))}, ["features by number"]
    ),
    "trees": _refuse({"a.txt": "(3 (2 It) (4 (2 is) (3 good)))\n"}, ["trees in brackets"]),
    "PubTator": _refuse(
        {"a.txt": "12|t|A gene\n12|a|It is.\n12\t2\t6\tgene\tGene\tD1\n"}, ["PubTator"]
    ),
    "SemEval-2010": _refuse(
        {"a.txt": '1\t"The <e1>a</e1> of <e2>b</e2>."\nOther\nComment:\n\n'}, ["label in lines of"]
    ),
    "UIMA": _refuse({"a.json": '{"%TYPES": {}, "%FEATURE_STRUCTURES": []}'}, ["UIMA CAS"]),
    "tagtog": _refuse(
        {"a.json": '{"annotatable": {"parts": ["s1"]}, "entities": [{"part": "s1"}]}'}, ["tagtog"]
    ),
    "Azure": _refuse({"a.json": '{"projectFileVersion": "1", "assets": {}}'}, ["Azure Language"]),
    "BioC": _refuse(
        {"a.json": '{"source": "x", "documents": [{"id": "1", "passages": [{"text": "a"}]}]}'},
        ["BioC"],
    ),
    "spaCy 2": _refuse({"a.json": '[{"id": 0, "paragraphs": [{"raw": "a"}]}]'}, ["spaCy 2"]),
    "Comprehend": _refuse(
        {"a.csv": "File,Line,Begin Offset,End Offset,Type\nd.txt,0,0,3,PER\nd.txt,1,0,3,LOC\n"},
        ["places in the texts of other files"],
    ),
    "ATIS, a sentence a line": _refuse(
        {"a.iob": "BOS fly EOS\tO O B-x flight\n"}, ["has blanks in it"]
    ),
    "a pointer for Parquet": _refuse(
        {"a.parquet": "version https://git-lfs.github.com/spec/v1\n"}, ["git lfs pull"]
    ),
    "a partition by label": _refuse({"label=x/p.parquet": ""}, ["partitioning='hive'"]),
    "Dialogflow": _refuse(
        {f"intents/{name}.json": "[]" for name in ("Add", "Add_usersays_en", "b_usersays_en")},
        ["intents/*_usersays_en.json", "data.source.format=class_files data.source.text=data"],
    ),
    "WiC": _refuse(
        {
            f"train.{kind}.txt": "".join(f"{one[place]}\n" for one in ROWS)
            for place, kind in enumerate(("data", "gold"))
        },
        ["train.gold.txt seems to hold labels for the lines of train.data.txt", "`paste "],
    ),
    "WiLI": _refuse(
        {
            f"{kind}_train.txt": "".join(f"{one[place]}\n" for one in ROWS)
            for place, kind in enumerate("xy")
        }
        | {"labels.csv": "Label;English\na;A\n"},
        ["y_train.txt seems to hold labels", "data.source.format=parallel reads them"],
    ),
    "DailyDialog": _refuse(
        {
            "dialogues_act.txt": "1 2 \n" * 12,
            "dialogues_text.txt": "".join(f"{t} __eou__\n" for t, _ in ROWS),
        },
        ["dialogues_act.txt seems to hold labels", "dialogues_text.txt reads the texts by"],
    ),
    "numbered parts of texts": _refuse(
        {f"part{n}/{m}.txt": "a text\n" for n in range(2) for m in range(2)},
        ['*/*.txt"'],
    ),
    "CoNLL-2012": _refuse(
        {
            f"{split}/data/bc/a.v4_gold_conll": "x 0 0 Ada NNP (PERSON)\n"
            for split in ("dev", "train")
        },
        ['train/**/*.v4_gold_conll"', "this is a file of CoNLL-2012"],
    ),
    "entities in brackets": _refuse({"a.conll": "Ada\t(PER*\nB\t*)\n\n"}, ["opens a bracket"]),
    "Rasa's Markdown": _refuse({"nlu.md": "## intent:greet\n- hey\n"}, ["of Rasa", "`awk "]),
    "Steam": _refuse(
        {"a.json": "{u'text': u'fine', 'note': None}\n"}, ["as Python shows it", "literal_eval"]
    ),
    "psql": _refuse(
        {"a.txt": " text | label \n------+-------\n a    | x\n(1 row)\n"},
        ["drawn with lines", "grep"],
    ),
    "MySQL": _refuse({"a.txt": "+---+\n| a |\n+---+\n| 1 |\n+---+\n"}, ["drawn with lines"]),
    "TREC's mails": _refuse(
        {f"data/inmail.{n}": t for n, (t, _) in enumerate(ROWS)}
        | {"full/index": "".join(f"{x} ../data/inmail.{n}\n" for n, (_, x) in enumerate(ROWS))},
        ["full/index: its lines are labels and the names of files"],
    ),
    "Webis Clickbait": _refuse(
        {
            f"{name}.jsonl": _write_lines(
                [{"id": f"i{n}", name: one[place]} for n, one in enumerate(ROWS)]
            )
            for place, name in enumerate(("postText", "truthClass"))
        },
        ["share 'id'", "lines=True"],
    ),
    "a folder further inside": _refuse(
        {"a/train/x.jsonl": "{}"}, ["perhaps the data lie further inside"]
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_look_says_how_they_are_read_or_what_helps(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, words, code = CASES[name]
    for file, content in files.items():
        put(tmp_path / file, content)
    first = next(iter(files))
    path = tmp_path / first if len(files) == 1 and "/" not in first else tmp_path
    assert main([f'data.source.path="{path}"']) == code
    shown = " ".join("".join(capsys.readouterr()).split())
    for said in words:
        assert said in shown


# Files by their names, options, and the rows of train.
READ = {
    "spaCy's texts with their notes": (
        {"a.json": '[["Ada ran", {"entities": [[0, 3, "PER"]]}]]'},
        {"columns": ["text", "notes"], "label": "notes.entities"},
        [("Ada ran", TokenLabels(spans=(EntitySpan(0, 3, "PER"),)))],
    ),
    "Vertex AI": (
        {
            "a.jsonl": '{"textContent": "Ada ran", "marks": [{"startOffset": 0, '
            '"endOffset": 3, "displayName": "PER"}]}\n'
        },
        {"text": "textContent", "label": "marks"},
        [("Ada ran", TokenLabels(spans=(EntitySpan(0, 3, "PER"),)))],
    ),
    "two annotators in Label Studio": (
        {
            "a.jsonl": _write_lines(
                [
                    {
                        "text": "fine",
                        "annotations": [{"result": [_result("a")]}, {"result": [_result("a")]}],
                    }
                ]
            )
        },
        {"label": "annotations.result.value.choices"},
        [("fine", ("a",))],
    ),
    "MIT's restaurants": (
        {"a.bio": "O\tshow\nB-DISH\tred\nI-DISH\tpie\n\n"},
        {"label": "label"},
        [("show red pie", TokenLabels(tags=("O", "B-DISH", "I-DISH")))],
    ),
    "MultiNERD": (
        {"a.conll": "0\tAda\tB-PER\n1\tran\tO\n\n0\tRome\tB-LOC\n\n"},
        {"label": "label"},
        [("Ada ran", TokenLabels(tags=("B-PER", "O"))), ("Rome", TokenLabels(tags=("B-LOC",)))],
    ),
    "Snips": (
        {
            f"{name}/train_{name}.json": json.dumps(
                {name: [{"data": [{"text": "play "}, {"text": "it", "entity": "song"}]}]}
            )
            for name in ("Add", "Play")
        },
        {"path": "*/*.json", "format": "class_files", "text": "data", "label": "label"},
        [("play it", "Add"), ("play it", "Play")],
    ),
    "Dialogflow": (
        {
            f"intents/{name}{end}.json": text
            for name in ("Add", "Play")
            for end, text in {
                "": "{}",
                "_usersays_en": '[{"data": [{"text": "so be it", "userDefined": false}]}]',
            }.items()
        },
        {
            "path": "intents/*_usersays_en.json",
            "format": "class_files",
            "text": "data",
            "label": "label",
        },
        [("so be it", "Add"), ("so be it", "Play")],
    ),
    "splits by column": (
        {
            "a.json": '{"train": {"text": ["a b", "c"], "label": ["x", "y"]}, '
            '"test": {"text": ["d"], "label": ["x"]}}'
        },
        {"label": "label"},
        [("a b", "x"), ("c", "y")],
    ),
    "partitions by split": (
        {"split=train/a.csv": "text,label\none,x\n", "split=test/a.csv": "text,label\ntwo,x\n"},
        {"label": "label"},
        [("one", "x")],
    ),
}


@pytest.mark.parametrize("name", sorted(READ))
def test_they_are_read(name: str, tmp_path: Path) -> None:
    files, options, rows = READ[name]
    for file, content in files.items():
        put(tmp_path / file, content)
    source = Source(**{**options, "path": str(tmp_path / options.get("path", ""))})
    source.check()
    assert [(row.text, row.label) for row in source.read_records("train")] == rows


def test_sentences_of_documents_by_the_program_that_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SciERC: entities by places in a document, of which the last is that of their last word."""
    ner = [[[0, 1, "PER"]], [[3, 3, "LOC"]]]
    sentences = [["Ada", "Low", "ran"], ["Rome", "sat"]]
    put(tmp_path / "FILE", _write_lines([{"clusters": [], "sentences": sentences, "ner": ner}] * 3))
    assert main([f"data.source.path={tmp_path / 'FILE'}", "data.source.format=jsonl"]) == 2
    program = capsys.readouterr().err.partition('`python -c "')[2].partition('" >')[0]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert [json.loads(line)["ner_tags"] for line in done.stdout.split("\n")[:2]] == [
        ["B-PER", "I-PER", "O"],
        ["B-LOC", "O"],
    ]


def test_a_sentence_in_brackets_is_text(tmp_path: Path) -> None:
    put(tmp_path / "a.txt", "(This (and that) is said)\n12:30 1:2 is a time\n")
    source = Source(path=str(tmp_path / "a.txt"))
    source.check()
    assert len(list(source.read_records("train"))) == 2
