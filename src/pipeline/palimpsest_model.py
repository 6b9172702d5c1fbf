"""Answers of the model in this folder, with torch and transformers alone; where it was exported to
ONNX or OpenVINO, with onnxruntime or openvino beside them.

    python palimpsest_model.py "A great film."          a second text where it judges pairs

    from palimpsest_model import TextModel
    TextModel("FOLDER").predict(["A great film."])

A model that tags words answers with entities, a pretrained one fills masks: "The film was [MASK]."

This file is copied into the folder of a model. MLflow serves the folder by it as well.
"""

import html
import importlib
import json
import re
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import logsigmoid, pad
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

_UNSHOWN = r"(?is)<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>"
_BLOCK = (
    r"(?i)</?(?:p|div|br|hr|li|ul|ol|dl|dt|dd|h[1-6]|table|tr|td|th|blockquote|pre|section|article|"
    r"header|footer|form|title)\b[^<>]*>"
)
_TAG = r"(?i)</?[a-z][^<>]*>|<![a-z][^<>]*>"
_CONTROL = (
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]"
)
# Words: characters of writing without spaces by themselves, runs of letters and digits, and every
# other visible character.
_ALONE = "\u2e80-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_ALONE}]|(?:(?![{_ALONE}])[\w\u0300-\u036f])+|[^\w\s]")
_COMMON_MASKS = ("[MASK]", "<mask>")
_NETWORKS: dict[str, Any] = {
    **dict.fromkeys(
        ("classification", "multi_label", "regression"), AutoModelForSequenceClassification
    ),
    **dict.fromkeys(("masked_lm", "masked_lm_with_next_sentence"), AutoModelForMaskedLM),
    "token_classification": AutoModelForTokenClassification,
}
# of texts whose masks are filled at a time: there is an output for every token of the vocabulary
_FILLED_TEXTS, _FILLINGS = 4, 5

# the network in other formats than that of transformers, which `src.export` writes
RUNTIME_FILES = ("model.onnx", "openvino_model.xml")


class TextModel:
    """Labels, values or entities of texts, or tokens for their masks; prepared and judged as the
    program does that trained the model.

    Args:
        folder: of the model; the one of this file if it is not named.
        device: of torch, such as "cuda"; a network for another runtime runs on the CPU.
    """

    def __init__(self, folder: Path | str = "", device: str = "cpu") -> None:
        folder = Path(folder or Path(__file__).parent)
        self.reading = json.loads((folder / "palimpsest.json").read_text(encoding="utf-8"))
        self.task, self.head = self.reading["task"], self.reading.get("head", "sequence")
        if self.task not in _NETWORKS or self.head == "replaced_tokens":
            raise ValueError(f"a model for {self.task} ({self.head}) gives no answers to texts")
        self.label_names = self.reading.get("label_names", [])
        self.rule: dict[str, Any] = {"temperature": 1.0, "thresholds": None}
        if (decision := folder / "decision.json").is_file():
            self.rule = json.loads(decision.read_text(encoding="utf-8"))
        self.tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        self.has_runtime = (runtime_file := find_runtime_file(folder)) is not None
        if self.has_runtime:
            # the file lies beside this one in folders that need it
            package = f"{__package__}." if __package__ else ""
            runtime = importlib.import_module(f"{package}palimpsest_runtime")
            limit = self.reading["max_tokens"]
            self.network: Any = runtime.RuntimeNetwork(runtime_file, self.tokenizer, limit)
        else:
            self.network = _NETWORKS[self.task].from_pretrained(
                folder, dtype=torch.float32, trust_remote_code=False
            )
            self.network.eval().to(device)
            if pooling := getattr(self.network.config, "sentence_pooling", None):
                self._add_pooling(pooling, folder)

    def predict(
        self, texts: Sequence[str], pairs: Sequence[str] | None = None, batch_size: int = 16
    ) -> list[dict[str, Any]]:
        """One dict for each text: its `prediction`, and the probability of each label by name. The
        prediction is None where a text is empty, and a number of a model for values. A model that
        tags words gives `entities`, one that fills masks `fillings`, both as `src.predict` does.

        Args:
            batch_size: of texts in torch; another runtime has batches of its own.
        """
        if self.task == "token_classification":
            texts = [self.clean(text) for text in texts]
            return [
                {"entities": self._find_entities(one) if one.strip() else None} for one in texts
            ]
        if _NETWORKS[self.task] is AutoModelForMaskedLM:
            return self._fill_texts([self._name_masks(text) for text in texts])
        if pairs is None and self.reading.get("pairs"):
            raise ValueError("this model judges pairs of texts: pairs=[...]")
        if pairs is not None and self.reading.get("pairs") is False:
            raise ValueError("this model judges single texts")
        columns = [texts] if pairs is None else [texts, pairs]
        rows = [[self.clean(text) for text in row] for row in zip(*columns, strict=True)]
        answers: list[dict[str, Any]] = [
            {"prediction": None, **dict.fromkeys(self.label_names)} for _ in rows
        ]
        filled = [place for place, row in enumerate(rows) if all(map(str.strip, row))]
        # texts of similar length, with little padding
        filled.sort(key=lambda place: sum(map(len, rows[place])))
        size = len(filled) if self.has_runtime else batch_size
        for start in range(0, len(filled), size or 1):
            places = filled[start : start + size]
            logits = self._compute_logits([rows[place] for place in places])
            for place, row in zip(places, logits, strict=True):
                answers[place] = self._build_answer(row)
        return answers

    def _compute_logits(self, rows: Sequence[Sequence[str]]) -> torch.Tensor:
        encoded = self.encode(rows)
        if self.has_runtime:
            return self.network.compute_logits(encoded)
        with torch.inference_mode():
            logits: torch.Tensor = self.network(**self._pad(encoded)).logits.float().cpu()
        return logits

    def encode(self, rows: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """The ids of each text or pair, and their types where the network takes these; cleaned
        texts, cut as in training.
        """
        limit, how = self.reading["max_tokens"], self.reading["truncation"]
        if how != "head_tail":
            columns = [list(column) for column in zip(*rows, strict=True)]
            found = self.tokenizer(*columns, truncation=True, max_length=limit)
            return [{name: found[name][place] for name in found} for place in range(len(rows))]
        encoded, backend = [], self._backend
        for row in rows:
            parts = [backend.encode(text, add_special_tokens=False) for text in row]
            room = limit - backend.num_special_tokens_to_add(len(row) > 1)
            lengths = [len(part) for part in parts]
            if len(row) > 1 and sum(lengths) > room:
                shorter = min(*lengths, room // 2)
                longer = room - shorter
                lengths = [longer, shorter] if lengths[0] > lengths[1] else [shorter, longer]
            else:
                lengths = [min(length, room) for length in lengths]
            ends = [self._cut(*part) for part in zip(row, parts, lengths, strict=True)]
            encoded.append(self._name_inputs(backend.post_process(*ends)))
        return encoded

    @property
    def _backend(self) -> Any:
        """The tokenizer without transformers' part, which neither cuts nor pads."""
        backend = self.tokenizer.backend_tokenizer
        backend.no_truncation()
        backend.no_padding()
        return backend

    def _name_inputs(self, row: Any) -> dict[str, Any]:
        """What the network takes of an encoded text."""
        inputs = {"input_ids": row.ids, "token_type_ids": row.type_ids}
        return {name: inputs[name] for name in inputs if name in self.tokenizer.model_input_names}

    def _pad(self, rows: list[dict[str, Any]]) -> Any:
        """On the network's device, as torch takes them."""
        return self.tokenizer.pad(rows, return_tensors="pt").to(self.network.device)

    def _find_entities(self, text: str) -> list[dict[str, Any]]:
        """The entities of a text; one without room is read in pieces, cut between words."""
        words = [found.span() for found in _WORD.finditer(text)]
        tags = [(0, 1.0)] * len(words)
        room = self.reading["max_tokens"] - self._backend.num_special_tokens_to_add(False)
        done, before = 0, -1
        while before < done < len(words):
            before, begin = done, words[done][0] if done else 0
            encoded = self._backend.encode(text[begin:], add_special_tokens=False)
            spans = [(low - begin, high - begin) for low, high in words[done:]]
            first = _find_first_tokens(text[begin:], spans, encoded.offsets)
            encoded.truncate(room)
            row = self._backend.post_process(encoded)
            with torch.inference_mode():
                logits = self.network(**self._pad([self._name_inputs(row)])).logits[0]
            likely, best = logits.float().cpu().softmax(-1).max(-1)
            ahead = row.special_tokens_mask.index(0) if len(encoded) else 0
            done = len(words)
            for word, token in first.items():
                if token >= room:
                    done = before + word
                    break
                tags[before + word] = int(best[ahead + token]), float(likely[ahead + token])
        return self._list_entities(text, words, tags)

    def _list_entities(self, text: str, words: Sequence[Any], tags: Sequence[Any]) -> list[Any]:
        """Runs of tags of a type; every word where tags are about no entities."""
        names = self.label_names
        types = [name[2:] for name in names[1::2]]
        is_about_entities = names == ["O", *(f"{one}-{name}" for name in types for one in "BI")]
        runs: list[tuple[str, int, int]] = []
        before = -1
        for word, (tag, _) in enumerate(tags):
            kind = (tag - 1) // 2 if tag else -1
            if not is_about_entities:
                runs.append((names[tag], word, word + 1))
            elif kind >= 0 and (tag % 2 == 1 or kind != before):
                runs.append((types[kind], word, word + 1))
            elif kind >= 0:
                runs[-1] = (*runs[-1][:2], word + 1)
            before = kind
        return [
            {
                "start": (start := words[first][0]),
                "end": (end := words[last - 1][1]),
                "text": text[start:end],
                "type": name,
                "score": round(sum(share for _, share in tags[first:last]) / (last - first), 6),
            }
            for name, first, last in runs
        ]

    def _name_masks(self, text: str) -> str:
        """The text with the tokenizer's own mask, cleaned."""
        if self.tokenizer.mask_token not in text:
            for common in _COMMON_MASKS:
                text = text.replace(common, self.tokenizer.mask_token)
        return self.clean(text)

    def _fill_texts(self, texts: list[str]) -> list[dict[str, Any]]:
        """The likeliest tokens for the masks of each text; None for one without masks, or that
        loses a mask where it is cut.
        """
        answers: list[dict[str, Any]] = [{"fillings": None} for _ in texts]
        mask = self.tokenizer.mask_token
        filled = [place for place, text in enumerate(texts) if mask in text]
        filled.sort(key=lambda place: len(texts[place]))
        for start in range(0, len(filled), _FILLED_TEXTS):
            places = filled[start : start + _FILLED_TEXTS]
            inputs = self._pad(self.encode([[texts[place]] for place in places]))
            with torch.inference_mode():
                logits = self.network(**inputs).logits
            for place, row, ids in zip(places, logits, inputs["input_ids"], strict=True):
                at = ids == self.tokenizer.mask_token_id
                if int(at.sum()) == texts[place].count(mask):
                    best = row[at].float().softmax(-1).topk(_FILLINGS)
                    found = zip(*(values.flatten().tolist() for values in best), strict=True)
                    answers[place]["fillings"] = [
                        {
                            "mask": number // _FILLINGS + 1,
                            "token": str(self.tokenizer.decode([one])).strip(),
                            "probability": share,
                        }
                        for number, (share, one) in enumerate(found)
                    ]
        return answers

    def _cut(self, text: str, part: Any, kept: int) -> Any:
        """A quarter of the kept tokens from the beginning of a text, the others from its end."""
        if len(part) <= kept:
            return part
        end = self._backend.encode(text, add_special_tokens=False)
        head = round(0.25 * kept)
        part.truncate(head)
        end.truncate(kept - head, direction="left")
        return type(part).merge([part, end], growing_offsets=False)

    def clean(self, text: str) -> str:
        """A text as training saw it, before it was cut."""
        cleaning: dict[str, Any] = {
            "html": False,
            "control_characters": "keep",
            "normal_form": None,
        }
        cleaning |= self.reading["cleaning"]
        if cleaning["html"]:
            text = re.sub(_TAG, "", re.sub(_BLOCK, "\n", re.sub(_UNSHOWN, "", text)))
            text = html.unescape(text)
        if cleaning["breaks"]:
            text = re.sub(r"(?i)<br\s*/?>", "\n", text)
        if cleaning["control_characters"] == "drop":
            text = re.sub(_CONTROL, "", text)
        if cleaning["normal_form"]:
            text = unicodedata.normalize(cleaning["normal_form"], text)
        return " ".join(text.split()) if cleaning["whitespace"] else text

    def _build_answer(self, logits: torch.Tensor) -> dict[str, Any]:
        """From the outputs for one text."""
        names = self.label_names
        if not names:
            return {"prediction": logits.item()}
        limits = torch.tensor(self.rule["thresholds"] or [0.5] * len(names))
        if self.reading["task"] == "multi_label":
            found = (logits / self.rule["temperature"]).sigmoid()
            chosen = ",".join(name for name, one in zip(names, found > limits, strict=True) if one)
        else:
            if self.head == "binary":
                logits = torch.cat([torch.zeros(1), logits])
            elif self.head == "ordinal":
                logits = pad(logsigmoid(logits).cumsum(0), (1, 0)) + pad(
                    logsigmoid(-logits), (0, 1)
                )
            found = (logits / self.rule["temperature"]).softmax(-1)
            if self.head == "ordinal":
                chosen = names[int((found.cumsum(0)[:-1] < 0.5).sum())]
            else:
                chosen = names[int((found / limits).argmax())]
        return {"prediction": chosen, **dict(zip(names, found.tolist(), strict=True))}

    def _add_pooling(self, pooling: str, folder: Path) -> None:
        """Put what represents a text, which transformers does not know, in the place of its first
        token.
        """
        score = None
        if pooling == "attention":
            from safetensors import safe_open

            with safe_open(folder / "model.safetensors", framework="pt") as stored:
                score = stored.get_tensor("attention_pooling.score").to(self.network.device)
        body = self.network.base_model
        # ModernBERT's own way would pool again
        self.network.config.classifier_pooling = "cls"

        def pool(_module: Any, _args: Any, inputs: Any, output: Any) -> Any:
            states, mask = output[0], inputs["attention_mask"].bool()
            scores = torch.zeros_like(states[..., 0]) if score is None else states @ score
            weights = scores.masked_fill(~mask, -torch.inf).softmax(1)
            pooled = (weights[..., None] * states).sum(1, keepdim=True)
            output["last_hidden_state"] = torch.cat([pooled, states[:, 1:]], 1)
            if self.network.config.model_type == "albert":
                output["pooler_output"] = body.pooler_activation(body.pooler(pooled[:, 0]))
            elif self.network.config.model_type == "bert":
                output["pooler_output"] = body.pooler(pooled)
            return output

        body.register_forward_hook(pool, with_kwargs=True)


def find_runtime_file(folder: Path) -> Path | None:
    """The network of a model folder in the format of another runtime; None if it has none."""
    found = [folder / name for name in RUNTIME_FILES if (folder / name).is_file()]
    return found[0] if found else None


def _find_first_tokens(text: str, words: Sequence[Any], offsets: Sequence[Any]) -> dict[int, int]:
    """The token in which each word begins, of words that have one; some tokenizers take the space
    before a word to its token, or have a token for it.
    """
    first: dict[int, int] = {}
    word = 0
    for token, (start, end) in enumerate(offsets):
        begin = start
        while begin < end and text[begin].isspace():
            begin += 1
        while word < len(words) and words[word][1] <= begin:
            word += 1
        if word == len(words):
            break
        is_mark = begin == end == words[word][0] and text[start:end] in ("", " ")
        if word not in first and (words[word][0] <= begin < end or is_mark):
            first[word] = token
    return first


def _load_pyfunc(folder: str) -> "_TableModel":
    """For MLflow: the model behind a table with the column `text`, and `pair` for pairs."""
    return _TableModel(TextModel(folder, "cuda" if torch.cuda.is_available() else "cpu"))


class _TableModel:
    def __init__(self, model: TextModel) -> None:
        self.model = model

    def predict(self, table: Any, params: Any = None) -> Any:
        import pandas

        # a cell without a text is null or NaN
        columns = [
            [cell if isinstance(cell, str) else "" for cell in table[name]]
            for name in ("text", "pair")
            if name in table
        ]
        answers = self.model.predict(columns[0], columns[1] if len(columns) > 1 else None)
        return pandas.DataFrame(answers, dtype=object)


if __name__ == "__main__":
    [one] = TextModel().predict([sys.argv[1]], sys.argv[2:3] or None)
    print(json.dumps(one, ensure_ascii=False))
