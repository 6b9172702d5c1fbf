"""Networks of transformers that tell replaced tokens from others."""

from collections import OrderedDict
from typing import Any

from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES


class AutoDiscriminator(_BaseAutoModelClass):
    """The part of `AutoModelForPreTraining` that is meant here: of most families that class has
    one that guesses masks and whether two texts belong together.
    """

    _model_mapping: Any = _LazyAutoMapping(
        CONFIG_MAPPING_NAMES, OrderedDict(electra="ElectraForPreTraining")
    )
