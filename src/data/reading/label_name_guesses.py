"""The options of `data` without which labels of files are not the names typed for them."""

from collections.abc import Mapping, Sequence

from src.core.user_errors import UserError
from src.data.reading.file_contents import FileContents
from src.data.rows.labels import LabelSpace

# More names are better kept in a file.
_LISTED_NAMES = 20


def guess_label_options(
    contents: FileContents, names: Sequence[str | float] | None, typed: Mapping[str, str]
) -> tuple[dict[str, str], str | None]:
    """The options that are missing, as they are typed, and what should be known of them.

    Args:
        names: of the labels, as they were typed.
        typed: the options of `data` that were typed.
    """
    if contents.tags is not None:
        if not (count := contents.tags.needed_names):
            return {}, None
        stand_ins = [f"NAME{number}" for number in range(count)]
        value = f"[{','.join(stand_ins)}]" if count <= _LISTED_NAMES else "NAMES.txt"
        return {"data.label_names": value}, (
            f"put the names of its {count} tags into data.label_names, in the order of their "
            "numbers from 0"
        )
    if names is None or {"data.label_values", "data.label_map"} & typed.keys():
        return {}, None
    try:
        space = LabelSpace.from_names(names)
        space.class_indices(dict.fromkeys(contents.labels, "the files"), "train")
    except UserError as error:
        values = space.guess_values(set(contents.labels))
        return {} if values is None else {"data.label_values": f"[{','.join(values)}]"}, str(error)
    return {}, None
