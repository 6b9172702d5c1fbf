"""Files of other programs that are not read, told by the endings of their names."""

from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.packed_files import strip_packed_suffix

_TABLE = "save its table as CSV, XLSX or Parquet"
_TEXT = "save its text as .txt, or a table in it as CSV"
_UNPACK = "unpack it and give the folder or the file"
_PLAIN = "save its texts as .txt, a text a line, or as CSV"
_INTENTS = "save its examples as CSV, with columns text and label"
_ARFF = (
    "data.source.format=csv data.source.header=false data.source.quote=single "
    "data.source.escape=backslash 'data.source.columns=[NAMES OF ATTRIBUTES]' "
    "data.source.skip_rows=NUMBER reads it, with the number of the line of @data"
)
_KINDS = {
    **dict.fromkeys((".xls", ".xlsb"), ("a file of older versions of Excel", _TABLE)),
    **dict.fromkeys((".ods", ".fods", ".numbers"), ("a spreadsheet of another program", _TABLE)),
    **dict.fromkeys((".sav", ".zsav", ".por"), ("a file of SPSS", _TABLE)),
    **dict.fromkeys((".rds", ".rda", ".rdata"), ("a file of R", _TABLE)),
    **dict.fromkeys((".sas7bdat", ".xpt"), ("a file of SAS", _TABLE)),
    **dict.fromkeys((".pkl", ".pickle"), ("a pickle (it could run code)", _TABLE)),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), ("an HDF5 file", _TABLE)),
    **dict.fromkeys((".feather", ".arrow"), ("an Arrow or Feather file", _TABLE)),
    **dict.fromkeys((".npy", ".npz"), ("a NumPy array", _TABLE)),
    **dict.fromkeys((".mdb", ".accdb"), ("a database of Access", _TABLE)),
    **dict.fromkeys((".sqlite", ".sqlite3"), ("an SQLite database", _TABLE)),
    **dict.fromkeys((".docx", ".odt", ".pptx", ".epub"), ("a document with pages", _TEXT)),
    ".dta": ("a file of Stata", _TABLE),
    ".mat": ("a file of MATLAB", _TABLE),
    ".orc": ("an ORC file", _TABLE),
    ".avro": ("an Avro file", _TABLE),
    ".pdf": ("a PDF file", _TEXT),
    **dict.fromkeys((".7z", ".rar"), ("an archive of another program", _UNPACK)),
    **dict.fromkeys((".zst", ".lz4", ".br", ".z"), ("packed in another way", _UNPACK)),
    **dict.fromkeys((".gpg", ".pgp", ".asc", ".age"), ("encrypted", "decrypt it first")),
    **dict.fromkeys((".tfrecord", ".tfrecords"), ("a file of TensorFlow", _TABLE)),
    **dict.fromkeys((".msgpack", ".mpk"), ("a MessagePack file", _TABLE)),
    **dict.fromkeys((".warc", ".wet", ".wat", ".arc"), ("a web archive", _PLAIN)),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), ("a model or its tensors", _TABLE)),
    **dict.fromkeys((".mp3", ".wav", ".png", ".jpg", ".mp4"), ("no text", "give the texts")),
    ".spacy": (
        "a DocBin of spaCy",
        "write a line {'text': doc.text, 'label': doc.cats} or 'entities' of start_char, end_char "
        "and label_ as JSON for each doc of DocBin().from_disk(FILE).get_docs(nlp.vocab)",
    ),
    **dict.fromkeys((".ttl", ".nt", ".rdf", ".owl"), ("a graph of triples", _TABLE)),
    ".vw": (
        "a file of Vowpal Wabbit",
        "`sed 's/ |[^ ]*//' FILE > FILE.txt` leaves the label and the text, which "
        "data.source.format=label_first reads",
    ),
    ".dvc": ("a pointer of DVC", "`dvc pull` gets the file itself"),
}
# Some of these hold text, which a typed format reads.
_LIKELY_KINDS = {
    **dict.fromkeys((".doc", ".rtf"), ("a document with pages", _TEXT)),
    ".db": ("a database", _TABLE),
    ".sql": ("an SQL dump", _TABLE),
    ".xml": ("an XML file", _TABLE),
    ".js": ("a program of JavaScript", "save what stands behind its first '=' as .json"),
    **dict.fromkeys((".tmx", ".xlf", ".xliff", ".xmi"), ("an XML file", _TABLE)),
    **dict.fromkeys((".sgm", ".sgml"), ("an SGML file", _TABLE)),
    **dict.fromkeys((".yml", ".yaml"), ("a YAML file", _INTENTS)),
    **dict.fromkeys((".srt", ".vtt", ".ass"), ("a file of subtitles", _PLAIN)),
    **dict.fromkeys((".mbox", ".eml", ".msg"), ("a file of mails", _PLAIN)),
    **dict.fromkeys(
        (".v4_gold_conll", ".gold_conll"),
        (
            "a file of CoNLL-2012, whose entities stand in brackets",
            "data.source.format=conll data.source.token_column=3 data.source.tag_column=4 reads "
            "its parts of speech",
        ),
    ),
    ".arff": ("a file of Weka", _ARFF),
    ".ann": ("a file of annotations of brat", "its texts are in the .txt file beside it"),
}
# Files of annotations by places in texts beside them.
_ANNOTATIONS = {
    ".ann": "annotations of brat",
    **dict.fromkeys((".a1", ".a2"), "annotations of BioNLP's tasks"),
    **dict.fromkeys((".con", ".ast", ".rel"), "annotations of i2b2"),
}


def find_kind_error(path: Path, key: str, *, is_typed: bool) -> UserError | None:
    """The error of a file whose ending names a kind that is not read; None for others.

    Args:
        key: which names the path.
        is_typed: whether a format was named, which goes before an ending that other files have too.
    """
    suffix = Path(strip_packed_suffix(path.name)).suffix.lower()
    kind = _KINDS.get(suffix) or (None if is_typed else _LIKELY_KINDS.get(suffix))
    if kind is None:
        return None
    return UserError(f"this is {kind[0]}, which is not read", key=key, value=path, hint=kind[1])


def name_kind(suffix: str) -> str | None:
    """What files with an ending are, in words for several, where it should be said."""
    return _ANNOTATIONS.get(suffix)
