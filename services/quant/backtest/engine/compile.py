"""Build of the compiled core in place: `python -m services.quant.backtest.engine.compile`, which `make setup` calls.

core.py becomes the module `_core`, with the types of core.pxd; `_arrays.pyx` and `_bars.pyx` are
worth writing in C only. Without a C compiler nothing is built and nothing fails: the pure Python files do the same.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
_PACKAGE = "services.quant.backtest.engine"
_FALLBACK = "backtests use the pure Python core (same results, slower)."
_UP_TO_DATE = "The compiled backtest core is up to date."
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
STAMP = HERE / "_compiled.stamp"
"""The file with the fingerprint of the sources that the modules were built from; written last."""
SOURCES = {"_core": ("core.py", "core.pxd"), "_arrays": ("_arrays.pyx",), "_bars": ("_bars.pyx",)}
"""The source files of each module, all in this folder."""
_DIRECTIVES = {"language_level": 3, "annotation_typing": False}
# -ffp-contract=off: a fused multiply-add would round once where TA-Lib and Python round twice.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-DNDEBUG", "-w", "-fPIC", "-shared"]


def fingerprint() -> str:
    """The SHA-256 over the sources and the version of the interpreter, in hex."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(Path(__file__).read_bytes())
    for names in SOURCES.values():
        for name in names:
            digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def is_built() -> bool:
    """True if a compiled core of just these sources exists."""
    try:
        return STAMP.read_text() == fingerprint()
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


def build() -> str:
    """Build the modules unless they are up to date; returns the outcome as one line of text."""
    if is_built():
        return _UP_TO_DATE
    command = compiler()
    if not command:
        return f"No C compiler or no Python.h: {_FALLBACK}"
    try:
        import Cython  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        return f"{error}: {_FALLBACK}"
    with _exclusive(), tempfile.TemporaryDirectory() as top:
        if is_built():  # by the process that held the lock
            return _UP_TO_DATE
        built_from = fingerprint()
        folder = Path(top, *_PACKAGE.split("."))
        for module in SOURCES:
            if problem := _compile(module, folder, command):
                return f"{problem}: {_FALLBACK}"
        # Until the new stamp exists, a build that was killed halfway counts as not built.
        STAMP.unlink(missing_ok=True)
        for module in SOURCES:
            # In one step: a run that has the old file open keeps it.
            target = HERE / f"{module}{_SUFFIX}"
            shutil.copy(folder / target.name, f"{target}.new")
            Path(f"{target}.new").replace(target)
        new_stamp = STAMP.with_suffix(".new")
        new_stamp.write_text(built_from)
        new_stamp.replace(STAMP)
    return "The compiled backtest core is built."


@contextmanager
def _exclusive() -> Iterator[None]:
    """Hold the lock of this folder: one build at a time."""
    folder = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _compile(module: str, folder: Path, command: list[str]) -> str:
    """Compile the module in `folder`, where Cython looks for its .pxd; returns the error, empty on success."""
    import numpy
    from Cython.Compiler.Main import compile_single
    from Cython.Compiler.Options import CompilationOptions

    folder.mkdir(parents=True, exist_ok=True)
    packages = (folder, *folder.parents[: _PACKAGE.count(".")])
    for package in packages:
        Path(package, "__init__.py").touch()
    names = SOURCES[module]
    copies = [shutil.copy(HERE / name, Path(folder, module).with_suffix(Path(name).suffix)) for name in names]
    code = Path(folder, module).with_suffix(".c")
    options = CompilationOptions(
        compiler_directives=_DIRECTIVES, output_file=str(code), include_path=[str(packages[-1].parent)]
    )
    if compile_single(str(copies[0]), options, full_module_name=f"{_PACKAGE}.{module}").num_errors:
        return f"Cython could not translate {module}"
    headers = [f"-I{sysconfig.get_path('include')}", f"-I{numpy.get_include()}"]
    output = ["-o", f"{folder}/{module}{_SUFFIX}", str(code), "-lm"]
    completed = subprocess.run([*command, *_FLAGS, *headers, *output], capture_output=True, text=True, check=False)
    return f"{completed.stderr}\n{module} was not compiled" if completed.returncode else ""


if __name__ == "__main__":
    if (outcome := build()) != _UP_TO_DATE:
        sys.stdout.write(outcome + "\n")
