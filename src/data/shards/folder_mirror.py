"""Small folders of the cache beside the shards of a corpus, so that another machine need not read
and tokenise it again.
"""

import gzip
import io
import shutil
import tarfile
import zlib
from pathlib import Path

from src.core.object_folder import ObjectFolder
from src.core.printing import print_line

# what becomes of the rows; a vocabulary that was learnt; the held-out tokens and the manifest
_KINDS = ("rows", "tokenizer", "tokens")


class FolderMirror:
    """Copies of folders of a `ContentCache`, each a packed object that carries a checksum."""

    def __init__(self, folder: ObjectFolder) -> None:
        self._folder = folder

    def fetch(self, kind: str, key: str, target: Path) -> bool:
        """Fill a folder with the copy of its content; False if there is none that is whole."""
        if kind not in _KINDS:
            return False
        name = _name_copy(kind, key)
        try:
            content = self._folder.read(name)
        except FileNotFoundError:
            return False
        try:
            # checks the whole
            unpacked = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            print_line(
                f"note: {self._folder.address}/{name} is broken ({error}); it is made again",
                to_stderr=True,
            )
            return False
        # of a call that was stopped
        shutil.rmtree(target)
        target.mkdir()
        with tarfile.open(fileobj=io.BytesIO(unpacked)) as archive:
            archive.extractall(target, filter="data")
        return True

    def store(self, kind: str, key: str, source: Path) -> None:
        """Keep a copy of a folder."""
        if kind not in _KINDS:
            return
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz", compresslevel=1) as archive:
            archive.add(source, ".")
        self._folder.write(_name_copy(kind, key), content.getvalue())


def _name_copy(kind: str, key: str) -> str:
    return f"{kind}/{key[:32]}.tar.gz"
