"""Text whose lines mean something else than a text, a row or a word, told by how a file begins."""

import re

from src.data.reading.decoding import InputFile
from src.data.reading.packed_files import BROKEN_DATA_ERRORS, open_binary

_FIRST_BYTES = 2048
_FEATURES = "features by number (LIBSVM), and no texts; give the texts that they were made of"
_AS_SPANS = (
    'write a line {"text": "...", "entities": [[0, 3, "PER"]]} as JSON for each of its documents'
)
# From what each sentence of a document has, by places in the document.
_SENTENCES = (
    "python -c \"import json; [print(json.dumps(dict(tokens=s, ner_tags=[next(('BI'[i > b] + "
    "'-' + t for b, e, t, *_ in n if b <= i <= e), 'O') for i in range(o, o + len(s))]))) for d in "
    "map(json.loads, open('FILE')) for k, (s, n) in enumerate(zip(d['sentences'], d['ner'])) for o "
    "in [sum(map(len, d['sentences'][:k]))]]\" > FILE.jsonl"
)
_DRAWN_TABLE = (
    "grep -v -e '^[-+|]*$' -e '^([0-9]* rows*)$' -e '^[0-9]* rows* in set' FILE | sed "
    "'s/^| *\\(.*\\)|$/\\1/; s/ *| */|/g; s/^ *//; s/ *$//' > FILE.csv"
)
# What a file begins with, and what it is.
_LAYOUTS = (
    (r"[-+]?\d+(\.\d+)?([ \t]+\d+:[-+.\de]+)+\s*(#.*)?$", _FEATURES),
    (
        r"\((\d|[A-Z]+) \((\d|[A-Z$-]+) [^\n]*\)\)\s*$",
        "trees in brackets (Penn, SST), which are not read; write a line for each, with its label, "
        "a tab and its words (the words are what stands before a closing bracket)",
    ),
    (r"\d+\|t\|", f"PubTator, which is not read; {_AS_SPANS}"),
    (
        r'\d+\t"?[^\t\n]*<e1>[^\t\n]*\r?\n[^\t\n]+\r?\n',
        "SemEval-2010 Task 8 with a text and its label in lines of their own, which is not read; "
        "`awk -F'\\t' 'NF==2 {t=$2} NF==1 && t!=\"\" {print $1 FS t; t=\"\"}' FILE > FILE.tsv` "
        "gives label and text, which data.source.header=false reads",
    ),
    (
        r'\{[\s\S]*?"sentences"\s*:\s*\[\s*\[\s*"',
        "documents as lists of sentences that are lists of words (SciERC, DyGIE++), which are not "
        f"read; `{_SENTENCES}` writes a line for each sentence, where 'ner' has their entities",
    ),
    (
        r"(<!--[\s\S]*?-->\s*)?## *(intent|synonym|regex|lookup):",
        "training data of Rasa as Markdown, which are not read; `awk '/^## *intent:/ {i=$0; "
        'sub(/^## *intent: */, "", i)} /^## *[srl]/ {i=""} /^[-*] / && i {t=$0; sub(/^[-*] */, "", '
        't); gsub(/\\[|\\]([({][^)}]*[)}])?/, "", t); print i "\\t" t}\' FILE > FILE.tsv` gives '
        "label and text, which data.source.header=false reads",
    ),
    (
        r"[^|\n]+(\|[^|\n]+)+\r?\n-+(\+-+)+\r?\n|\+-+(\+-+)*\+\r?\n\|",
        "a table drawn with lines (psql, MySQL), which is not read; save it as CSV (psql --csv), "
        f"or `{_DRAWN_TABLE}` gives one that data.source.delimiter=pipe reads",
    ),
    (r'\{\s*"%(TYPES|FEATURE_STRUCTURES|VIEWS)"', f"UIMA CAS, which is not read; {_AS_SPANS}"),
    (r'\{\s*"annotatable"', f"tagtog's annotations without the texts; {_AS_SPANS}"),
    (
        r'\{\s*"projectFileVersion"',
        "a project of Azure Language, whose texts stand in files of their own; a folder for each "
        "class with its files is read",
    ),
    (
        r'\{\s*"source"\s*:[^\[\]]*"documents"\s*:\s*\[\s*\{[^\[\]]*"passages"',
        f"BioC, which is not read; {_AS_SPANS}",
    ),
    (
        r'\[\s*\{\s*"id"\s*:\s*\d+\s*,\s*"paragraphs"\s*:\s*\[\s*\{\s*"(raw|sentences)"',
        f"the JSON of spaCy 2, which is not read; {_AS_SPANS}",
    ),
)
_PATTERNS = tuple((re.compile(begin, re.MULTILINE), words) for begin, words in _LAYOUTS)


def detect_layout(file: InputFile) -> str | None:
    """What a file of text is whose lines or values are no rows, with what can be done; None of a
    file of which nothing of that kind is known.
    """
    with open_binary(file.path) as raw:
        try:
            head = raw.read(_FIRST_BYTES)
        except BROKEN_DATA_ERRORS:
            # reading tells what is broken
            return None
    text = head.decode("utf-8-sig", "replace").lstrip()
    return next((words for begin, words in _PATTERNS if begin.match(text)), None)
