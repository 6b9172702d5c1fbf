"""Keys that change nothing beside the others are said, and nothing else is."""

import pytest

from src.config.groups import list_options
from src.config.idle_keys import find_idle_keys

MLM = ["+experiment=mlm_quickstart"]
# the command line, and all that is said of it
SAID = {
    "data.batching.mask_schedule=cosine": [
        "data.batching.mask_schedule=cosine changes nothing with "
        "data.batching.mask_fraction_end=null",
    ],
    "data.batching.mask_schedule=cosine data.batching.mask_fraction_end=0.1": [],
    "data.batching.max_span_words=5 data.batching.span_probability=0.4": [
        "data.batching.span_probability=0.4 changes nothing with data.batching.mask_unit=token",
        "data.batching.max_span_words=5 changes nothing with data.batching.mask_unit=token",
    ],
    "data.batching.max_span_words=5 data.batching.mask_unit=span": [],
    "model.optim.decay_fraction=0.5 model.optim.decay_shape=linear": [
        "model.optim.decay_fraction=0.5 changes nothing with model.optim.schedule=linear",
        "model.optim.decay_shape=linear changes nothing with model.optim.schedule=linear",
    ],
    "model.optim.decay_fraction=0.5 model.optim.schedule=wsd": [],
    "trainer.max_skips=9": ["trainer.max_skips=9 changes nothing with trainer.on_non_finite=stop"],
    "callbacks=weight_averaging callbacks.weight_averaging.method=swa": [],
    "callbacks=weight_averaging callbacks.weight_averaging.method=swa "
    "callbacks.weight_averaging.decay=0.5": [
        "callbacks.weight_averaging.decay=0.5 changes nothing with "
        "callbacks.weight_averaging.method=swa",
    ],
    "callbacks.progress.style=bar callbacks.progress.line_seconds=5": [
        "callbacks.progress.line_seconds=5 changes nothing with callbacks.progress.style=bar",
    ],
}
CLASSIFICATION_SAID = {
    "data.batching.length_warmup_fraction=0.5": [
        "data.batching.length_warmup_fraction=0.5 changes nothing with "
        "data.batching.length_warmup_tokens=null",
    ],
    "data.batching.length_warmup_fraction=0.5 data.batching.length_warmup_tokens=32": [],
    "data/augmentation=words": [],
    "data/augmentation=words data.augmentation.deletion=0 data.augmentation.swap=0": [
        "data.augmentation changes no text: deletion=0, swap=0 and no synonyms",
    ],
    "data/augmentation=words data.augmentation.synonym_share=0.3": [
        "data.augmentation.synonym_share=0.3 changes nothing with data.augmentation.synonyms=null",
    ],
    "data/augmentation=words data.augmentation.unchanged=1 data.augmentation.swap=0.2": [
        "data.augmentation.swap=0.2 changes nothing with data.augmentation.unchanged=1",
    ],
    "model.freeze=encoder model.optim.layer_decay=0.9": [
        "model.optim.layer_decay=0.9 changes nothing with model.freeze=encoder",
    ],
    "data.split.fold=1/5 data.split.validation=0.3": [
        "data.split.validation=0.3 changes nothing with data.split.fold=1/5",
    ],
}


@pytest.mark.parametrize("line", SAID)
def test_in_pretraining(line, composed):
    assert list(find_idle_keys(composed(*MLM, *line.split())).values()) == SAID[line]


@pytest.mark.parametrize("line", CLASSIFICATION_SAID)
def test_in_classification(line, composed):
    found = find_idle_keys(composed(*line.split()))
    assert list(found.values()) == CLASSIFICATION_SAID[line]


def test_experiments_set_no_key_in_vain(composed):
    experiments = list_options("experiment")
    assert len(experiments) >= 17
    for name in experiments:
        assert find_idle_keys(composed(f"+experiment={name}")) == {}, name
