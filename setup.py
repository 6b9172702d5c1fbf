"""Builds the package: `src`, `conf` and `hydra_plugins` go below `palimpsest/_code`, so that no
package called `src` is installed. `pip install -e .` leaves all where it lies.
"""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildBelowPalimpsest(build_py):
    """Copies the packages to where they are installed."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if not self.editable_mode:
            own = [name for name in self.packages if name != "palimpsest"]
            self.packages = ["palimpsest", *(f"palimpsest._code.{name}" for name in own)]
            self.package_dir = {"palimpsest._code": "."}


setup(cmdclass={"build_py": BuildBelowPalimpsest})
