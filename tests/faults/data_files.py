"""Mistakes in data files of every format, and in how they are named."""

import gzip

from tests.faults.entry import Entry

QUIET = (
    "trainer=cpu callbacks.progress.style=off tracking=offline "
    "tracking.system_metrics=false trainer.precision=fp32 "
)
SMALL = "model/encoder=tiny data/tokenizer=wordpiece data.tokenizer.vocab_size=100 " + QUIET
FILES = "+experiment=files " + SMALL
TEXTS = "+experiment=mlm_files " + SMALL
VALUES = "data=files model=regression data.task=regression " + SMALL
GOOD = "text,label\n" + "".join(f"a day number {number},{number % 2}\n" for number in range(20))


def packed(text: str) -> bytes:
    """gzip, stored without being compressed, so that it is the same with every version of zlib."""
    return gzip.compress(text.encode(), compresslevel=0, mtime=0)


ENTRIES = [
    Entry(
        FILES,
        says="data.source.path: must be given, as data.source.path=VALUE",
        name="no path",
    ),
    Entry(
        FILES + "data.source.path=HERE/reviews.csv",
        says="data.source.path=HERE/reviews.csv: there is no 'reviews.csv' in HERE; did you mean "
        "'review.csv'?",
        files={"review.csv": GOOD},
        name="a file that is not there",
    ),
    Entry(
        FILES + "data.source.path=HERE/data/x/reviews.csv",
        says="data.source.path=HERE/data/x/reviews.csv: there is no 'data' in HERE; did you mean "
        "'date'?",
        files={"date/x.csv": GOOD},
        name="a folder that is not there",
    ),
    Entry(
        FILES + "data.source.path=\"''\"",
        says="data.source.path is empty: expected a file or a folder",
        name="an empty path",
    ),
    Entry(
        FILES + "data.source.path='\"https://example.org/a.csv\"'",
        says="data.source.path=https://example.org/a.csv: an address; download it first and give "
        "the file",
        name="an address",
    ),
    Entry(
        FILES + "data.source.path=HERE/*.csv",
        says="data.source.path=HERE/*.csv: no file in HERE matches; there: a.tsv",
        files={"a.tsv": GOOD},
        name="a pattern",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv: no rows in it",
        files={"a.csv": ""},
        name="an empty file",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv: no rows in it",
        files={"a.csv": "\n\n\n"},
        name="blank lines alone",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv: no rows in it",
        files={"a.csv": "text,label\n"},
        name="a header alone",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="data.source.path=HERE/d: the folder is empty",
        files={"d/": ""},
        name="an empty folder",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says=(
            "data.source.path=HERE/d/notes.docx: this is a document with pages, which is not read; "
            "save its text as .txt, or a table in it as CSV"
        ),
        files={"d/x.pdf": "x", "d/notes.docx": "y"},
        name="a folder of other files",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.xyz",
        says=(
            "data.source.path=HERE/a.xyz: what kind of file is this? data.source.format=NAME, "
            "one of csv, tsv, "
            "jsonl, parquet, xlsx, text, folders, class_files, label_first, parallel, "
            "conll"
        ),
        files={"a.xyz": b"x"},
        name="an unknown ending",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.xlsx data.source.format=csv",
        says=(
            "a.xlsx, line 1: a NUL character; this is a zip file, whose name must end in .zip, "
            "or in .xlsx for a spreadsheet"
        ),
        files={"a.xlsx": b"PK\3\4\x14\0\6\0"},
        name="a workbook taken for a table",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.format=cvs",
        says=(
            "data.source.format: expected one of auto, csv, tsv, jsonl, parquet, xlsx, text, "
            "folders, class_files, "
            "label_first, parallel, conll, "
            "found 'cvs'; did you mean 'csv'?"
        ),
        files={"a.csv": GOOD},
        name="a misspelt format",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.json",
        says=(
            "a.json, line 1: a list, whose values have no names; "
            "data.source.columns=[text,label] names them"
        ),
        files={"a.json": "[1, 2]"},
        name="a JSON array of numbers",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.json",
        says="a.json, line 1: not valid JSON (Expecting value at column 1); as one value it is "
        "broken at line 3: Expecting ',' delimiter",
        files={"a.json": '[\n {"text": "a", "label": 1}\n {"text": "b", "label": 0}]'},
        name="JSON over several lines without a comma",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says=(
            "a.jsonl, line 3: not valid JSON (Expecting ',' delimiter at column 13); expected one "
            "JSON object a line"
        ),
        files={
            "a.jsonl": '{"text":"a","label":1}\n{"text":"b","label":0}\n{"text":"c,"label":1}\n'
        },
        name="broken JSON on line 3",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says=(
            "a.jsonl, line 1: not valid JSON (Expecting property name enclosed in double quotes "
            'at column 2); it is written as Python shows it; python -c "import ast, json; '
            "[print(json.dumps(ast.literal_eval(line))) for line in open('HERE/a.jsonl')]\" > "
            "HERE/a.jsonl.jsonl writes it as JSON"
        ),
        files={"a.jsonl": "{'text': 'a'}\n"},
        name="JSON with single quotes",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says="a.jsonl, line 2: a number and no object; expected one JSON object a line",
        files={"a.jsonl": '{"text":"a","label":1}\n3\n'},
        name="a number among JSON objects",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says=(
            "a.jsonl, line 1: 2 labels (1, 2), but a text has one here; data.task=multi_label "
            "model=multi_label callbacks.checkpoint.monitor=val/f1_macro "
            "callbacks.checkpoint.mode=max learns several"
        ),
        files={"a.jsonl": '{"text":"a","label":[1,2]}\n'},
        name="a JSON label that is a list",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl data.cleaning.empty_text=error",
        says="a.jsonl, line 2: the text is empty; data.cleaning.empty_text=drop leaves such rows "
        "out",
        files={"a.jsonl": '{"text":"a","label":1}\n{"txt":"a","label":1}\n'},
        name="a JSON row without a text",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says="data.source.label=label: a.jsonl has no such column; valid: text",
        files={"a.jsonl": '{"text":"a"}\n'},
        name="JSON without the label",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says="a.jsonl, line 1: 'text' has half of a surrogate pair, which is not a character",
        files={"a.jsonl": '{"text":"a\\ud800","label":1}\n'},
        name="half a character",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.jsonl",
        says="data.source.text=text: a.jsonl has no such column; did you mean 'txt'? Columns: "
        "txt, label",
        files={"a.jsonl": b'\xef\xbb\xbf{"txt":"a","label":1}\n'},
        name="a byte order mark and another column",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.text=review",
        says="data.source.text=review: a.csv has no such column; did you mean 'reviews'? Columns: "
        "reviews, label",
        files={"a.csv": "reviews,label\na,1\n"},
        name="another column of texts",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.label=labels",
        says="data.source.label=labels: a.csv has no such column; did you mean 'label'? Columns: "
        "text, label",
        files={"a.csv": GOOD},
        name="another column of labels",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="data.source.text=text: a.csv has no such column; did you mean 'Text'? Columns: "
        "Text, Label\ndata.source.label=label: a.csv has no such column; did you mean 'Label'? "
        "Columns: Text, Label",
        files={"a.csv": "Text,Label\na,1\n"},
        name="columns in capitals",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="data.source.label=label: a.csv has no such column; did you mean 'labels'? Columns: "
        "text, labels",
        files={"a.csv": "text, labels\na, 1\n"},
        name="spaces behind commas",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "data.source.text=text: a.csv has no such column; its columns are parted by ';'"
            ": data.source.delimiter=semicolon"
        ),
        files={"a.csv": "text;label\na;1\n"},
        name="semicolons",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "data.source.text=text: a.csv has no such column; its columns are parted by tabs: "
            "data.source.format=tsv"
        ),
        files={"a.csv": "text\tlabel\na\t1\n"},
        name="tabs in a CSV file",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.tsv",
        says=(
            "data.source.text=text: a.tsv has no such column; its columns are parted by commas: "
            "data.source.format=csv"
        ),
        files={"a.tsv": GOOD},
        name="commas in a TSV file",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "data.source.text=text: a.csv has no such column; valid: 1, what a day "
            "(data.source.header=false "
            "where the first line holds no names)\n"
            "data.source.label=label: a.csv has no such column; valid: 1, what a day "
            "(data.source.header=false where the first line holds no names)"
        ),
        files={"a.csv": "what a day,1\na night,0\n"},
        name="no header",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="data.source.text=text: a.csv has 2 columns of that name; data.source.skip_rows=1 "
        "'data.source.columns=[text,text_2,label]' names them apart",
        files={"a.csv": "text,text,label\na,b,1\n"},
        name="a column twice",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 3: 1 columns, the header has 2; is a quote or separator missing? "
            "(data.source.format, "
            "data.source.quoting)"
        ),
        files={"a.csv": "text,label\na,1\nb\n"},
        name="too few cells",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 3: 3 columns, the header has 2; is a quote or separator missing? "
            "(data.source.format, "
            "data.source.quoting)"
        ),
        files={"a.csv": "text,label\na,1\nb, and c,1\n"},
        name="too many cells",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 2: the row that begins here opens a quote that is never closed; "
            "data.source.quoting=false where quotes are ordinary characters"
        ),
        files={"a.csv": 'text,label\n"a,1\nb,0\n'},
        name="an open quote",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 2: bad quoting in the row that ends on line 2: ',' expected after "
            "'\"'; data.source.quoting=false where quotes are ordinary characters"
        ),
        files={"a.csv": 'text,label\n"a"b,1\nb,0\n'},
        name="a quote in the middle",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.text=0",
        says=(
            "data.source.text=0: a position, but the columns have names; give the name (in "
            "quotes where it is a number: 'data.source.text=\"0\"'), or data.source.header=false "
            "for a table without a header"
        ),
        files={"a.csv": GOOD},
        name="a position beside names",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.header=false",
        says=(
            "data.source.text=text: data.source.header=false leaves columns without names; "
            "expected a position, "
            "counted from 0, or data.source.columns=[NAME,NAME] with all names\n"
            "data.source.label=label: data.source.header=false leaves columns without names; "
            "expected a "
            "position, counted from 0, or data.source.columns=[NAME,NAME] with all names"
        ),
        files={"a.csv": GOOD},
        name="names without a header",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.header=false data.source.text=0 "
        "data.source.label=5",
        says=(
            "a.csv, line 1: 2 columns, data.source asks for at least 6; is a quote or "
            "separator missing? (data.source.format, data.source.quoting)"
        ),
        files={"a.csv": GOOD},
        name="a position beyond the last",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.header=false data.source.text=-1 "
        "data.source.label=1",
        says=(
            "data.source.text=-1: data.source.header=false leaves columns without names; expected "
            "a position, "
            "counted from 0, or data.source.columns=[NAME,NAME] with all names"
        ),
        files={"a.csv": GOOD},
        name="a position below 0",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 2: byte 0xe4 at position 16 of the file is not utf-8 (invalid "
            "continuation byte); perhaps data.source.encoding=cp1252, or "
            "data.source.encoding=[utf-8,cp1252] if only some files have it"
        ),
        files={"a.csv": "text,label\nein Käse,1\n".encode("latin-1")},
        name="Latin-1",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv: this is UTF-16: data.source.encoding=utf-16",
        files={"a.csv": GOOD.encode("utf-16")},
        name="UTF-16",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv, line 1: a NUL character; this is not text in utf-8 "
        "(data.source.encoding=utf-16 reads UTF-16)",
        files={"a.csv": GOOD.encode("utf-16-le")},
        name="UTF-16 without a mark",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.encoding=utf-16",
        says="a.csv: this is not utf-16 (UTF-16 stream does not start with BOM); "
        "data.source.encoding=NAME",
        files={"a.csv": GOOD},
        name="UTF-8 taken for UTF-16",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.encoding=utf8-bom",
        says="data.source.encoding=utf8-bom: no such text encoding; did you mean 'utf-8'?",
        files={"a.csv": GOOD},
        name="a misspelt encoding",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.encoding=base64",
        says="data.source.encoding=base64: no such text encoding; common ones: utf-8, utf-16, "
        "latin-1, cp1252",
        files={"a.csv": GOOD},
        name="a codec of bytes",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "a.csv, line 2: a NUL character; this is not text in utf-8 "
            "(data.source.encoding=utf-16 reads UTF-16)"
        ),
        files={"a.csv": "text,label\na\0b,1\n"},
        name="a NUL",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv.gz",
        says=(
            "a.csv.gz: broken gzip data after line 11 (Compressed file ended before the "
            "end-of-stream marker was reached); the file is cut off or damaged, copy or "
            "download it again"
        ),
        files={"a.csv.gz": packed(GOOD)[:200]},
        name="gzip cut off",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv.gz",
        says=(
            "a.csv.gz: broken gzip data after line 0 (Not a gzipped file (b'te')); the "
            "file is cut off or damaged, copy or download it again"
        ),
        files={"a.csv.gz": GOOD},
        name="gzip in name alone",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv.gz",
        says=(
            "a.csv.gz: broken gzip data after line 21 (CRC check failed 0x34333231 != "
            "0x973a7e6a); the file is cut off or damaged, copy or download it again"
        ),
        files={"a.csv.gz": packed(GOOD)[:-8] + b"12345678"},
        name="gzip with a wrong sum",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="a.csv: this is gzip data, whose name must end in .gz",
        files={"a.csv": packed(GOOD)},
        name="gzip under another name",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.parquet",
        says="a.parquet: cut off; its 15 bytes should begin and end with PAR1",
        files={"a.parquet": b"PAR1 and no end"},
        name="Parquet cut off",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.parquet",
        says="a.parquet: not a Parquet file; its 361 bytes should begin and end with PAR1",
        files={"a.parquet": GOOD},
        name="text called Parquet",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="no rows are left for train: 2 were read, 2 without a label (data.source.label)",
        files={"a.csv": "text,label\na,\nb,\n"},
        failed=True,
        name="no label on any row",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.cleaning.missing_label=error",
        says="a.csv, line 3: no label; data.cleaning.missing_label=drop leaves such rows out",
        files={"a.csv": "text,label\na,1\nb,\n"},
        name="a label is missing and must not",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.cleaning.empty_text=error",
        says="a.csv, line 3: the text is empty; data.cleaning.empty_text=drop leaves such rows out",
        files={"a.csv": "text,label\na,1\n,0\n"},
        name="a text is empty and must not be",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="no rows are left for train: 2 were read, 2 empty (data.source.text)",
        files={"a.csv": "text,label\n,1\n,0\n"},
        failed=True,
        name="all texts empty",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "all 2 rows of train have the label '1'; a classifier needs at least 2 classes "
            "(data.source.label "
            "names their column)"
        ),
        files={"a.csv": "text,label\na,1\nb,1\n"},
        failed=True,
        name="one class alone",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="test.csv, line 2: label '2' is none of the 2 classes found in train; valid: 0, 1",
        files={"d/train.csv": GOOD, "d/test.csv": "text,label\na,2\n"},
        failed=True,
        name="a label that train lacks",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.label_names=[negative,positive]",
        says="a.csv, line 2: label 'Positive' is none of the 2 classes declared; "
        "data.label_values=[negative,Positive] says that the data write negative, positive so",
        files={"a.csv": "text,label\na,Positive\nb,negative\n"},
        name="a label in capitals",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.label_names=[negative,positive]",
        says="a.csv, line 2: label 'neutral' is none of the 2 classes declared; valid: negative, "
        "positive",
        files={"a.csv": "text,label\na,neutral\nb,negative\n"},
        name="a label that is not declared",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="test.csv, line 2: label '-1' is none of the 2 classes found in train; -1 is the only "
        "one in test: does it stand for 'no label'? data.source.test=null leaves test out",
        files={"d/train.csv": GOOD, "d/test.csv": "text,label\na,-1\nb,-1\n"},
        failed=True,
        name="a test split without labels",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.num_labels=3",
        says="data.num_labels=3, but the data have 2 labels: 0, 1",
        files={"a.csv": GOOD},
        failed=True,
        name="fewer labels than declared",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says=(
            "more than 1000 classes in the first 1001 rows of train; is it a score ("
            "data.task=regression model=regression callbacks.checkpoint.monitor=val/pearson "
            "callbacks.checkpoint.mode=max predicts numbers), or is another column the "
            "label (data.source.label)?"
        ),
        files={"a.csv": "text,label\n" + "".join(f"t{n},{n / 7}\n" for n in range(1100))},
        failed=True,
        name="scores taken for classes",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv",
        says="2 rows cannot be divided: none is left for test (data.split.validation=0.1, "
        "data.split.test=0.1)",
        files={"a.csv": "text,label\na,1\nb,0\n"},
        failed=True,
        name="two rows",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.split.validation=0",
        says="there are no rows to validate on; data.split.validation=0.1 takes a tenth of the "
        "training rows",
        files={"a.csv": GOOD},
        failed=True,
        name="no rows to validate on",
    ),
    Entry(
        VALUES + "data.source.path=HERE/a.csv",
        says="a.csv, line 2: label 'good' is not a finite number (a regression needs one; "
        "data.source.label)",
        files={"a.csv": "text,label\na,good\nb,1\n"},
        name="a word in place of a value",
    ),
    Entry(
        VALUES + "data.source.path=HERE/a.csv",
        says="a.csv, line 2: label '18 m' is not a finite number (a regression needs one; "
        "data.source.label); 'data.source.label_pattern=\"([-+]?[0-9][0-9.,]*)\"' takes the number "
        "in a label",
        files={"a.csv": "text,label\na,18 m\nb,7 m\n"},
        name="a value with its unit",
    ),
    Entry(
        VALUES + "data.source.path=HERE/a.csv",
        says="a.csv, line 3: label '12,750' is not a finite number (a regression needs one; "
        "data.source.label); data.source.decimal=dot where commas part thousands, "
        "data.source.decimal=comma where a comma stands before decimals",
        files={"a.csv": 'text,label\na,1\nb,"12,750"\n'},
        name="a value with its thousands",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.label_names=[low,mid,high]",
        says="a.csv, line 4: label '3' is none of the 3 classes declared; "
        "data.label_values=[1,2,3] says that the data write low, mid, high so",
        files={"a.csv": "text,label\na,1\nb,2\nc,3\n"},
        name="labels that count from 1",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.split.time=day",
        says="a.csv, line 2: 'day' is '25.12.2021', which cannot be put in order; "
        "'data.split.time_format=\"%d.%m.%Y\"' says how dates are written (data.split.time)",
        files={"a.csv": "text,label,day\na,1,25.12.2021\nb,2,26.12.2021\n"},
        name="dates as they are written in Germany",
    ),
    Entry(
        VALUES + "data.source.path=HERE/a.csv",
        says="a.csv, line 3: label 'inf' is not a finite number (a regression needs one; "
        "data.source.label)",
        files={"a.csv": "text,label\na,1\nb,inf\n"},
        name="a value without end",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says=(
            "data.source.path=HERE/d: no file carries the name of a split; found a.csv, b.csv; "
            "say which is "
            "which: data.source.train=NAME, or give one file: data.source.path=FILE, or all for "
            "train: 'data.source.path=\"HERE/d/*.csv\"'; data.source.format=class_files where "
            "every file holds the rows of one class"
        ),
        files={"d/a.csv": GOOD, "d/b.csv": GOOD},
        name="two files without a split's name",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="data.source.path=HERE/d: files of several formats; data.source.format=NAME, one of "
        "csv, jsonl",
        files={"d/train.csv": GOOD, "d/test.jsonl": '{"text":"a","label":1}\n'},
        name="two formats",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.label=null",
        says="data.source.label=null: data.task=classification learns from labels; "
        "data.source.label=COLUMN names theirs; files without columns have any name",
        files={"a.csv": GOOD},
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says=(
            "data.source.validation=validation: HERE/d has none, but dev.csv; "
            "data.source.validation=dev takes "
            "it, data.source.validation=null leaves it"
        ),
        files={"d/train.csv": GOOD, "d/dev.csv": GOOD, "d/val.csv": GOOD},
        name="dev and val instead of validation",
    ),
    Entry(
        FILES + "data.source.path=HERE/d data.source.validation=dev",
        says="data.source.validation=dev: no file and no folder in HERE/d is called so",
        files={"d/train.csv": GOOD},
        name="a split that is not there",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says=(
            "HERE/d has no train split; it has: validation, test; names of files and folders say "
            "their split; data.source.path=FILE takes one file as train"
        ),
        files={"d/test.csv": GOOD, "d/validation.csv": GOOD},
        name="nothing to train on",
    ),
    Entry(
        FILES + "data.source.path=HERE/d data.source.validation=test",
        says="data.source: two splits are both called 'test' (train, validation, test)",
        files={"d/train.csv": GOOD, "d/test.csv": GOOD},
        name="two splits of one name",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="data.source.path: HERE/d/train.csv is there packed and unpacked; its rows would be "
        "read twice",
        files={"d/train.csv": GOOD, "d/train.csv.gz": packed(GOOD)},
        name="packed and unpacked",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="data.source.path=HERE/d: 'train' stands in several folders; name one of them: "
        "HERE/d/x, HERE/d/y, or all: 'data.source.path=\"HERE/d/*/*.csv\"', with "
        "data.source.format=class_files where every folder is a class",
        files={"d/x/train.csv": GOOD, "d/y/train.csv": GOOD},
        name="train in two folders",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.txt data.source.format=folders",
        says="data.source.format=folders: HERE/a.txt is a file; expected a folder of one folder "
        "per class",
        files={"a.txt": "x"},
        name="a file for a folder per class",
    ),
    Entry(
        FILES + "data.source.path=HERE/d data.source.format=folders",
        says="data.source.path=HERE/d: no folders of texts here; data.source.format=folders "
        "expects some",
        files={"d/pos/": "", "d/neg/": ""},
        name="empty folders of classes",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.txt",
        says=(
            "data.source.label=label: text files have no label; give null, or "
            "data.source.format=label_first where lines begin with it, class_files where every "
            "file holds the texts of a class, conll where a line is a word and its tag, tsv or csv "
            "where it has columns"
        ),
        files={"a.txt": "a\nb\n"},
        name="plain text with labels",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says="test.csv: no rows in it",
        files={"d/train.csv": GOOD, "d/test.csv": "text,label\n"},
        name="an empty split",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.csv data.source.pair=second",
        says=(
            "data.source.pair=second: a.csv has no such column; valid: label, text "
            "(data.source.header=false "
            "where the first line holds no names)"
        ),
        files={"a.csv": GOOD},
        name="no pairs",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt 'data.source.heading=\"(\"'",
        says="data.source.heading=(: not a regular expression (missing ), unterminated subpattern "
        "at position 0)",
        files={"a.txt": "a\nb\n"},
        name="a broken expression",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt",
        says=(
            "1 rows cannot be divided: none is left for validation (data.split.validation=0.1, "
            "data.split.test=0.0)"
        ),
        files={"a.txt": "only one line\n"},
        failed=True,
        name="one line to pretrain on",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt",
        says="a.txt: no rows in it",
        files={"a.txt": ""},
        name="nothing to pretrain on",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt",
        says=(
            "a.txt, line 3: byte 0x80 at position 127 of the file is not utf-8 (invalid start "
            "byte); name the "
            "file's encoding: data.source.encoding=NAME, or data.source.encoding=[utf-8,NAME] if "
            "only some files have it"
        ),
        files={"a.txt": bytes(range(1, 256))},
        name="bytes to pretrain on",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt data.batching.row_tokens=1024",
        says=(
            "data.batching.row_tokens=1024 is more than the encoder can read, "
            "model.encoder.max_tokens=512; "
            "change either"
        ),
        files={"a.txt": "a\nb\n"},
        name="rows longer than the encoder",
    ),
    Entry(
        "-m " + FILES + "data.source.path=HERE/a.csv,HERE/b.csv",
        says="data.source.path=HERE/b.csv: there is no 'b.csv' in HERE; did you mean 'a.csv'?",
        files={"a.csv": GOOD},
        name="one of two files of a search",
    ),
    Entry(
        FILES + "data/source=hub",
        says=(
            "data.source has neither path nor hub; give data.source.path=FILE_OR_FOLDER or "
            "data.source.hub=OWNER/NAME"
        ),
        name="a set of the hub without a name",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.sav",
        says=(
            "data.source.path=HERE/a.sav: this is a file of SPSS, which is not read; save its "
            "table as CSV, XLSX or Parquet"
        ),
        files={"a.sav": b"$FL2@(#)"},
        name="a file of SPSS",
    ),
    Entry(
        FILES + "data.source.path=HERE/a.tsv data.source.text=a",
        says="a.tsv: this is WebAnno TSV, which is not read; export it as CoNLL 2002, which is",
        files={"a.tsv": "#FORMAT=WebAnno TSV 3.3\n\n#Text=Ada\n1-1\t0-3\tAda\tPER\n"},
        name="WebAnno's table of words",
    ),
    Entry(
        FILES + "data.source.path=HERE/d",
        says=(
            "data.source.path=HERE/d: train_labels.csv and train_texts.csv have other columns and "
            "share 'id': texts and labels lie in different files; join them first: python -c "
            "\"import pandas as p; p.read_csv('HERE/d/train_labels.csv')"
            ".merge(p.read_csv('HERE/d/train_texts.csv'), on='id')"
            ".to_csv('HERE/d/joined.csv', index=False)\"; then data.source.path=HERE/d/joined.csv"
        ),
        files={
            "d/train_texts.csv": "id,words\n1,a day\n2,a night\n",
            "d/train_labels.csv": "id,verdict\n2,good\n1,bad\n",
        },
        name="texts and labels in two tables",
    ),
    Entry(
        TEXTS + "data.source.path=HERE/a.txt data.source.comment=hash",
        says="data.source.comment=#: text files have no lines of comments; leave this option",
        files={"a.txt": "# a\nwords\n"},
        name="comments in plain text",
    ),
]
