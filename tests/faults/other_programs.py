"""Ids of runs, and the command lines of the smaller programs."""

from tests.faults.entry import Entry

TABLE = {"y.csv": "text\na\n"}

ENTRIES = [
    Entry(
        "",
        says="run: must be given, as run=ID; `make ui` shows the ids",
        program="predict",
    ),
    Entry(
        "run=abcdef1",
        says='expected either text="..." or file=FILE',
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a file=b",
        says='expected either text="..." or file=FILE',
        program="predict",
    ),
    Entry(
        "run=abcdef1 txt=a",
        says="txt=a: there is no option 'txt'; did you mean 'text'?",
        program="predict",
    ),
    Entry(
        "--failed",
        says="there is no option --failed; did you mean '--status failed'?",
        program="runs",
    ),
    Entry(
        "abcdef12 differences=true",
        says="there is no option 'differences'; did you mean '--differences'?",
        program="rerun",
    ),
    Entry(
        "abcdef12 json=false",
        says="there is no option 'json'; --json is left out where it is not meant",
        program="rerun",
    ),
    Entry(
        "limit=5",
        says="there is no option 'limit'; did you mean '--top 5'?",
        program="leaderboard",
    ),
    Entry(
        "topp=5",
        says="there is no option 'topp'; did you mean '--top 5'?",
        program="leaderboard",
    ),
    Entry(
        "--limit 5",
        says="there is no option --limit; did you mean '--top'?",
        program="leaderboard",
    ),
    Entry(
        "sort=val/loss",
        says="there is no option 'sort'; did you mean '--metric val/loss'?",
        program="compare",
    ),
    Entry(
        "0123456 seed=3",
        says="a rerun changes nothing, and seed=3 would; python -m src.runs 0123456 shows what was "
        "typed, to type it again with that",
        program="rerun",
    ),
    Entry(
        "abcdef1",
        says=(
            "'abcdef1' is not an option: expected key=value, with one of run, text, pair, file, "
            "column, "
            "pair_column, split, output, overwrite, strict, batch_tokens, precision, "
            "backend, model, decision_rule, uri, root; did you mean run=abcdef1?"
        ),
        program="predict",
    ),
    Entry(
        "--run=abcdef1 text=a",
        says="there is no option '--run'; did you mean 'run=abcdef1'?",
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a batch_tokens=many",
        says="batch_tokens=many: expected a whole number at least 1",
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a precision=fp16",
        says="precision=fp16: expected one of auto, fp32, bf16, int8",
        program="predict",
    ),
    Entry(
        "run=abcdef1 run=abcdef2 text=a",
        says="run is given twice: abcdef1 and abcdef2",
        program="predict",
    ),
    Entry(
        "run=abcdef1 pair=a",
        says='expected either text="..." or file=FILE',
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a",
        says="run='abcdef1': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="predict",
    ),
    Entry(
        "run=ab text=a uri=sqlite:///HERE/none.db",
        says="run='ab': there is no such run; no run has been kept yet in HERE/none.db",
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a uri=nowhere",
        says=(
            "uri=nowhere is not the address of a store: expected null (a SQLite file in mlruns/), "
            "sqlite:///FILE, postgresql://... or http(s)://..."
        ),
        program="predict",
    ),
    Entry(
        "run=abcdef1 file=HERE/x.csv",
        says="file=HERE/x.csv: there is no 'x.csv' in HERE; did you mean 'y.csv'?",
        files=TABLE,
        program="predict",
    ),
    Entry(
        "run=abcdef1 file=HERE/y.csv output=HERE/no/x.csv",
        says="output=HERE/no/x.csv: there is no folder HERE/no",
        files=TABLE,
        program="predict",
    ),
    Entry(
        "run=abcdef1 file=HERE/y.csv output=HERE/y.csv",
        says="output=HERE/y.csv is the file that is read; the answers need another name",
        files=TABLE,
        program="predict",
    ),
    Entry(
        "run=abcdef1 file=HERE/y.csv output=HERE/y.xlsx",
        says="output=HERE/y.xlsx: what kind of file is this?: expected a name that ends in .csv, "
        ".tsv, .jsonl or .parquet",
        files=TABLE,
        program="predict",
    ),
    Entry(
        "run=abcdef1 file=HERE/y.csv strict=1",
        says="strict=1: expected true or false",
        files=TABLE,
        program="predict",
    ),
    Entry(
        "run=abcdef1 text=a strict=true",
        says="strict=true goes with file=",
        program="predict",
    ),
    Entry(
        "format=onnx output=HERE/x",
        says="run: must be given, as run=ID; `make ui` shows the ids",
        program="export",
    ),
    Entry(
        "run=abcdef1 format=onxx output=HERE/x",
        says="format=onxx: expected one of transformers, mlflow, onnx, openvino; did you mean "
        "'onnx'?",
        program="export",
    ),
    Entry(
        "run=abcdef1 format=mlflow",
        says="output: must be given, as output=FOLDER, or register=NAME",
        program="export",
    ),
    Entry(
        "run=abcdef1 format=onnx output=HERE/x register=a",
        says="register=a goes with format=mlflow",
        program="export",
    ),
    Entry(
        "run=abcdef1 format=onnx output=HERE/x tolerance=-1",
        says="tolerance=-1: expected a number from 0, and below 1",
        program="export",
    ),
    Entry(
        "run=abcdef1 format=onnx output=HERE/y.csv",
        says="output=HERE/y.csv is there already; give a new name",
        files=TABLE,
        program="export",
    ),
    Entry(
        "run=abcdef1 format=onnx output=HERE/x",
        says="run='abcdef1': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="export",
    ),
    Entry(
        "port=http",
        says="port=http: expected a whole number from 1 to 65535",
        program="ui",
    ),
    Entry(
        "port=99999",
        says="port=99999: expected a whole number from 1 to 65535",
        program="ui",
    ),
    Entry(
        "prt=1",
        says="prt=1: there is no option 'prt'; did you mean 'port'?",
        program="ui",
    ),
    Entry(
        "--port=3",
        says="there is no option '--port'; did you mean 'port=3'?",
        program="ui",
    ),
    Entry(
        "uri=postgresql://me:secret@host/runs",
        says=(
            "uri=postgresql://me:***@host/runs is served by the one who keeps it; this command "
            "serves SQLite files only"
        ),
        program="ui",
    ),
    Entry(
        "uri=nowhere",
        says=(
            "uri=nowhere is not the address of a store: expected null (a SQLite file in mlruns/), "
            "sqlite:///FILE, postgresql://... or http(s)://..."
        ),
        program="ui",
    ),
    Entry(
        "experiment=",
        says="experiment is empty: expected the name under which the UI lists the runs",
        program="ui",
    ),
    Entry(
        "sed=3",
        says="sed=3: there is no option 'sed'; did you mean 'seed'?",
        program="quickstart",
    ),
    Entry(
        "seed=one",
        says="seed: expected a whole number at least 0 and at most 4294967295, found 'one'",
        program="quickstart",
    ),
    Entry(
        "seed=1 seed=2",
        says="seed is given twice: 1 and 2",
        program="quickstart",
    ),
    Entry(
        "--seed=3",
        says="there is no option '--seed'; did you mean 'seed=3'?",
        program="quickstart",
    ),
    Entry(
        "trainer=cpu",
        says=(
            "trainer=cpu: the quickstart's three runs have their own; dotted keys go to each, as "
            "in "
            "trainer.accelerator=cpu"
        ),
        program="quickstart",
    ),
    Entry(
        "+experiment=imdb",
        says=(
            "+experiment=imdb: the quickstart's three runs have their own; dotted keys go to "
            "each, as in "
            "trainer.accelerator=cpu"
        ),
        program="quickstart",
    ),
    Entry(
        "trainer.max_step=3",
        says="trainer.max_step: there is no such key; did you mean 'max_steps'?",
        program="quickstart",
    ),
    Entry(
        "--statuss KILLED",
        says="there is no option --statuss; did you mean '--status'?",
        program="runs",
    ),
    Entry(
        "--status DEAD",
        says="--status DEAD: valid: FAILED, FINISHED, KILLED, RUNNING",
        program="runs",
    ),
    Entry(
        "--status",
        says="argument --status: expected one argument (python -m src.runs --help)",
        program="runs",
    ),
    Entry(
        "--limit many",
        says="--limit many: expected a whole number from 1 to 50000",
        program="runs",
    ),
    Entry(
        "abc --root HERE",
        says="RUN_ID='abc': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="runs",
    ),
    Entry(
        "0123456789 --root HERE",
        says="RUN_ID='0123456789': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="runs",
    ),
    Entry(
        "--root HERE",
        says="no run has been kept yet in HERE/mlruns/mlflow.db",
        program="leaderboard",
    ),
    Entry(
        "--top ten",
        says="--top ten: expected a whole number from 1 to 1000",
        program="leaderboard",
    ),
    Entry(
        "--cost dollars",
        says="--cost dollars: valid: energy, seconds, tokens",
        program="leaderboard",
    ),
    Entry(
        "abcdef latest --root HERE",
        says="RUN='abcdef': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="compare",
    ),
    Entry(
        "--root HERE",
        says="no run has been kept yet in HERE/mlruns/mlflow.db",
        program="compare",
    ),
    Entry(
        "a b --metrics test/loss",
        says="there is no option --metrics; did you mean '--metric'?",
        program="compare",
    ),
    Entry(
        "--html HERE/none/x.html",
        says="--html HERE/none/x.html: there is no folder HERE/none that this user may write to",
        program="compare",
    ),
    Entry(
        "../../etc --root HERE",
        says="RUN_ID='../../etc': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
        program="runs",
    ),
    Entry(
        "--uri nowhere",
        says=(
            "--uri=nowhere is not the address of a store: expected null (a SQLite file in "
            "mlruns/), "
            "sqlite:///FILE, postgresql://... or http(s)://..."
        ),
        program="runs",
    ),
    Entry(
        "abc --root HERE",
        says="'abc' names no run that waits in HERE/mlruns/outbox; there is none to choose from",
        program="sync",
    ),
    Entry(
        "../x --root HERE",
        says="'../x' names no run that waits in HERE/mlruns/outbox; there is none to choose from",
        program="sync",
    ),
    Entry(
        "--to nowhere --root HERE",
        says=(
            "--to=nowhere is not the address of a store: expected null (a SQLite file in mlruns/), "
            "sqlite:///FILE, postgresql://... or http(s)://..."
        ),
        program="sync",
    ),
    Entry(
        "--too x",
        says="there is no option --too; did you mean '--to'?",
        program="sync",
    ),
    Entry(
        "--to",
        says="argument --to: expected one argument (python -m src.sync --help)",
        program="sync",
    ),
    Entry(
        "+experiment=quickstart init_from=0123456789",
        says="init_from='0123456789': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
    ),
    Entry(
        "+experiment=quickstart init_from=null",
        says="model.encoder.name_or_path=run:None stands for an earlier run, which is named by "
        "init_from=ID",
    ),
    Entry(
        "init_from=0123456789",
        says=(
            "init_from=0123456789 brings an encoder and its tokenizer, but the config makes fresh "
            "ones; add "
            "model/encoder=pretrained data/tokenizer=pretrained"
        ),
    ),
    Entry(
        "resume=",
        says="resume= names no run: expected its id, or the first 6 or more digits of it",
    ),
    Entry(
        "resume=abc tracking.root=HERE",
        says="resume='abc': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
    ),
    Entry(
        "resume=0123456789 tracking.root=HERE",
        says="resume='0123456789': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
    ),
    Entry(
        "resume=../../x tracking.root=HERE",
        says="resume='../../x': there is no such run; no run has been kept yet in "
        "HERE/mlruns/mlflow.db",
    ),
    Entry(
        "resume=0123456789 resume=1234567890",
        says="resume= is given twice: 0123456789, 1234567890",
    ),
    Entry(
        "resume=0123456789 fork=maybe",
        says="fork=maybe: expected true or false",
    ),
    Entry(
        "fork=true",
        says="fork=true goes with resume=ID, the run that the new one begins from",
    ),
    Entry(
        "-m resume=0123456789 seed=1,2",
        says=(
            "-m makes several runs, and resume= goes on with one, as it began\n"
            "seed=1,2: several values make several runs, and resume= goes on with one"
        ),
    ),
    Entry(
        "--run abcdef1 --text a",
        says="there is no option '--run'; did you mean 'run=abcdef1'?",
        program="predict",
    ),
    Entry(
        "tracking.uri=sqlite:///x.db",
        says="there is no option 'tracking.uri'; did you mean 'uri=sqlite:///x.db'?",
        program="ui",
    ),
    Entry(
        "tracking.root=HERE/x",
        says="there is no option 'tracking.root'; did you mean '--root HERE/x'?",
        program="runs",
    ),
    Entry(
        "root=HERE/x",
        says="there is no option 'root'; did you mean '--root HERE/x'?",
        program="sync",
    ),
]
