"""Source files in an object storage, which are copied to this machine to be read.

The copy is named by what the storage says of the files (their names, sizes and tags), so that it is
made once, and made anew where a file is another one.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from src.core.formatting import format_quantity
from src.core.object_folder import ObjectFolder, ObjectVersion
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.reading.archives import CACHE_ROOT
from src.data.reading.file_names import PATH_KEY

_WEB_PROTOCOLS = ("http", "https", "ftp")


# asked once: a run reads the same files from its beginning to its end
@functools.cache
def fetch_source(address: str) -> Path:
    """The copy on this machine of a file or a folder in an object storage, such as
    s3://BUCKET/FOLDER. Files that an earlier call had copied whole stay.

    Raises:
        UserError: there is nothing, it may not be read, or it is no address of an object storage.
        StorageOutage: the storage has not answered for too long.
    """
    if address.partition("://")[0] in _WEB_PROTOCOLS:
        raise UserError(
            "an address", key=PATH_KEY, value=address, hint="download it first and give the file"
        )
    folder = ObjectFolder(address, key=PATH_KEY)
    if folder.local is not None:
        return folder.local
    if any(sign in address for sign in "*?["):
        raise UserError(
            "a pattern of names",
            key=PATH_KEY,
            value=address,
            expected="a file or a folder of an object storage",
        )
    objects = folder.list_objects()
    for name in objects:
        if ".." in PurePosixPath(name).parts:
            raise UserError(f"'{name}' would lie outside its folder", key=PATH_KEY, value=address)
    key = hashlib.sha256(json.dumps([address, objects]).encode()).hexdigest()
    name = PurePosixPath(folder.address).name
    place = ContentCache(CACHE_ROOT).get_or_build(
        "fetched",
        key,
        lambda unfinished: _fetch_objects(folder, objects, unfinished / name),
        resumable=True,
    )
    return place / name


def _fetch_objects(
    folder: ObjectFolder, objects: Mapping[str, ObjectVersion], target: Path
) -> None:
    size = sum(version.size for version in objects.values()) / 1e6
    print_line(
        f"fetching {format_quantity(len(objects), 'file')} ({size:,.1f} MB) from {folder.address}",
        to_stderr=True,
    )
    for name, version in objects.items():
        file = target / name if name else target
        # a file is there whole or not at all
        if not file.exists():
            folder.fetch(name, version, file)
