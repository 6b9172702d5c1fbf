"""Signatures read from text are those of the classes themselves."""

import dataclasses
import importlib
import inspect
from typing import Annotated, Literal, get_type_hints

import pytest

from src.config.choices import choices, content
from src.config.signature import constant, has_rules, signature
from src.terms.bounds import Bound, Count, Whole, accepts
from src.terms.fault import Fault

TARGETS = sorted(
    {
        content(group, choice)["_target_"]
        for group in ("data", "data/source", "data/cleaning", "data/split", "data/tokenizer", "data/batching",
                      "model", "model/encoder", "model/optim", "trainer", "tracking")
        for choice in choices(group)
        if "_target_" in content(group, choice)
    }
    | {f"src.model.objectives.{name}" for name in ("MaskedLM", "Classification", "Regression")}
    | {"src.training.callbacks.Checkpoint", "src.training.callbacks.EarlyStopping", "src.training.meter.Meter"}
    | {"src.training.callbacks.Progress", "src.run.run"}
)  # fmt: skip


ROOMS = "src., lightning., torch., torchmetrics., transformers. alone"


def test_targets_are_found() -> None:
    assert len(TARGETS) == 24


@pytest.mark.parametrize("target", TARGETS)
def test_what_has_no_rules_of_its_own_need_not_be_built(target: str) -> None:
    module, _, name = target.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    generated = dataclasses.is_dataclass(thing) and not hasattr(thing, "__post_init__") and thing.__bases__ == (object,)
    assert has_rules(target) != (generated or thing.__init__ is object.__init__)


@pytest.mark.parametrize("target", TARGETS)
def test_the_text_says_what_the_import_says(target: str) -> None:
    module, _, name = target.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    real = inspect.signature(thing).parameters
    read = signature(target)
    assert read is not None and not read.open
    assert set(read.parameters) == set(real)
    for key, parameter in real.items():
        assert read.parameters[key].required == (parameter.default is inspect.Parameter.empty), key


def test_annotations_are_understood_aliases_of_their_modules_too() -> None:
    batching = signature("src.data.batching.Masked")
    assert batching is not None
    assert batching.parameters["row_tokens"].annotation == Annotated[int, Bound(least=8)]
    assert "kind" not in batching.parameters  # a class constant is no argument
    data = signature("src.data.datamodule.TextDataModule")
    assert data is not None
    assert data.parameters["task"].annotation == Literal["masked_lm", "classification", "regression"]
    assert data.parameters["train_rows"].annotation == Count | None
    optim = signature("src.model.optim.AdamW")
    assert optim is not None
    assert not accepts(optim.parameters["beta1"].annotation, 1)
    module = signature("src.model.module.EncoderModule")
    assert module is not None
    assert module.parameters["freeze"].annotation == Literal["nothing", "embeddings", "encoder"] | Whole
    assert accepts(module.parameters["encoder"].annotation, object())  # classes are the builder's business


@pytest.mark.parametrize("target", TARGETS)
def test_every_annotation_is_read_as_python_evaluates_it(target: str) -> None:
    module, _, name = target.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    hints = get_type_hints(inspect.unwrap(thing.__init__) if inspect.isclass(thing) else thing, include_extras=True)
    read = signature(target)
    assert read is not None
    for key, parameter in read.parameters.items():
        for value in (None, True, 0, -1, 3, 0.5, 2.5, "", "linear", "masked_lm", [], ["a"], [1], {}):
            # A class in an annotation is not imported to be compared, so the text may allow more, never less.
            assert accepts(parameter.annotation, value) or not accepts(hints[key], value), (key, value)


def test_constants_are_read_from_the_text() -> None:
    assert constant("src.model.objectives.MaskedLM", "kind") == "masked_lm"
    assert constant("src.model.objectives.Regression", "quantities") == ("loss", "pearson", "spearman", "mae")
    assert constant("src.data.batching.Labelled", "kind") == "labelled"
    assert constant("src.data.batching.Labelled", "nothing") is None
    assert constant("src.data.batching.Nobody", "kind") is None
    assert constant("os.system", "kind") is None
    assert constant("nonsense", "kind") is None


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("os.system", "'os.system' is not built: a config builds from " + ROOMS),
        ("src.model.objectives.MaskLM", "module 'src.model.objectives' has no 'MaskLM'; did you mean 'MaskedLM'?"),
        ("src.modle.objectives.MaskedLM", "there is no module 'src.modle.objectives'"),
        ("src.data.batching.Batching", "'src.data.batching.Batching' is neither a class nor a function"),
        ("src", "'src' is not built: a config builds from " + ROOMS),
    ],
)  # fmt: skip
def test_targets_that_are_refused(target: str, message: str) -> None:
    with pytest.raises(Fault) as caught:
        signature(target)
    assert str(caught.value) == message


def test_classes_of_other_libraries_are_read_too() -> None:
    found = signature("lightning.pytorch.callbacks.EarlyStopping")
    assert found is not None
    assert {"monitor", "patience"} <= set(found.parameters)
