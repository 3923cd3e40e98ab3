"""Build of the compiled modules in place: `python -m services.quant.compile`, which `make setup` calls.

A `.py` file becomes a module with the types of its `.pxd`; a `.pyx` file is worth writing in C only. Without a C
compiler nothing is built and nothing fails: pure Python files do the same.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PURE = "REDFIRE_PURE"
"""The environment's variable that keeps to pure Python, whatever is built."""
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
_DIRECTIVES = {"language_level": 3, "annotation_typing": False}
# -ffp-contract=off: a fused multiply-add would round once where TA-Lib and Python round twice.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-DNDEBUG", "-w", "-fPIC", "-shared"]


@dataclass(frozen=True, slots=True)
class Target:
    """Modules of one package that are built together, or not at all."""

    name: str
    package: str
    sources: Mapping[str, tuple[str, ...]]
    """The source files of each module, all in the package's folder."""
    root: Path = Path(__file__).parents[2]
    """The folder of the top package."""

    @property
    def folder(self) -> Path:
        """The package's folder."""
        return self.root.joinpath(*self.package.split("."))

    @property
    def stamp(self) -> Path:
        """The file with the fingerprint of the sources that the modules were built from; written last."""
        return self.folder / "_compiled.stamp"

    def fingerprint(self) -> str:
        """The SHA-256 over the sources and the version of the interpreter, in hex."""
        digest = hashlib.sha256(sys.version.encode())
        digest.update(Path(__file__).read_bytes())
        for names in self.sources.values():
            for name in names:
                digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()


BACKTEST = Target(
    "backtest core",
    "services.quant.backtest.engine",
    {"_core": ("core.py", "core.pxd"), "_arrays": ("_arrays.pyx",), "_bars": ("_bars.pyx",)},
)
TICKS = Target(
    "tick codec",
    "services.quant.ticks",
    {"_tick_batch": ("_tick_batch.pyx",), "_tick_frame": ("_tick_frame.pyx",)},
)
TARGETS = (BACKTEST, TICKS)


def is_built(target: Target) -> bool:
    """True if compiled modules of just these sources exist."""
    try:
        return target.stamp.read_text() == target.fingerprint()
    except OSError:
        return False


def compiler() -> list[str]:
    """The C compiler's command; empty when there is none, or no Python.h."""
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return []
    configured = (sysconfig.get_config_var("CC") or "cc").split()
    for command in (configured, ["cc"], ["gcc"], ["clang"]):
        if shutil.which(command[0]):
            return command
    return []


def build(target: Target) -> str:
    """Build the modules unless they are up to date; returns one line about it, empty when nothing was to do."""
    if is_built(target):
        return ""
    fallback = f"the pure Python {target.name} is used (same results, slower)."
    command = compiler()
    if not command:
        return f"No C compiler or no Python.h: {fallback}"
    try:
        import Cython  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        return f"{error}: {fallback}"
    with _exclusive(target.folder), tempfile.TemporaryDirectory() as top:
        if is_built(target):  # by the process that held the lock
            return ""
        built_from = target.fingerprint()
        folder = Path(top, *target.package.split("."))
        for module in target.sources:
            if problem := _compile(target, module, folder, command):
                return f"{problem}: {fallback}"
        # Until the new stamp exists, a build that was killed halfway counts as not built.
        target.stamp.unlink(missing_ok=True)
        for module in target.sources:
            # In one step: a run that has the old file open keeps it.
            made = target.folder / f"{module}{_SUFFIX}"
            shutil.copy(folder / made.name, f"{made}.new")
            Path(f"{made}.new").replace(made)
        new_stamp = target.stamp.with_suffix(".new")
        new_stamp.write_text(built_from)
        new_stamp.replace(target.stamp)
    return f"The compiled {target.name} is built."


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Hold the lock of this folder: one build at a time."""
    folder = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _compile(target: Target, module: str, folder: Path, command: list[str]) -> str:
    """Compile the module in `folder`, where Cython looks for its .pxd; returns the error, empty on success."""
    import numpy
    from Cython.Compiler.Main import compile_single
    from Cython.Compiler.Options import CompilationOptions

    folder.mkdir(parents=True, exist_ok=True)
    packages = (folder, *folder.parents[: target.package.count(".")])
    for package in packages:
        Path(package, "__init__.py").touch()
    names = target.sources[module]
    copies = [shutil.copy(target.folder / name, Path(folder, module).with_suffix(Path(name).suffix)) for name in names]
    code = Path(folder, module).with_suffix(".c")
    options = CompilationOptions(
        compiler_directives=_DIRECTIVES, output_file=str(code), include_path=[str(packages[-1].parent)]
    )
    if compile_single(str(copies[0]), options, full_module_name=f"{target.package}.{module}").num_errors:
        return f"Cython could not translate {module}"
    headers = [f"-I{sysconfig.get_path('include')}", f"-I{numpy.get_include()}"]
    output = ["-o", f"{folder}/{module}{_SUFFIX}", str(code), "-lm"]
    completed = subprocess.run([*command, *_FLAGS, *headers, *output], capture_output=True, text=True, check=False)  # noqa: S603  the compiler that Python was built with # nosec B603
    return f"{completed.stderr}\n{module} was not compiled" if completed.returncode else ""


if __name__ == "__main__":
    for one in TARGETS:
        if outcome := build(one):
            sys.stdout.write(outcome + "\n")
