"""Building the compiled core in place: `python -m services.quant.backtest.engine.compile`, which `make setup` calls.

core.py becomes the module `_core`, with the types of core.pxd; `_arrays.pyx` and `_bars.pyx` have what is worth writing
in C only. Where there is no C compiler nothing is built and nothing fails: the pure Python files do the same.
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
_INSTEAD = "backtests use the pure Python core (same results, slower)."
_UP_TO_DATE = "The compiled backtest core is up to date."
_SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
STAMP = HERE / "_compiled.stamp"
"""The fingerprint of what the compiled files were made from; written last."""
SOURCES = {"_core": ("core.py", "core.pxd"), "_arrays": ("_arrays.pyx",), "_bars": ("_bars.pyx",)}
"""What each module is made of, all in this folder."""
_DIRECTIVES = {"language_level": 3, "annotation_typing": False}
# -ffp-contract=off: a fused multiply-add would round once where TA-Lib and Python round twice.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-DNDEBUG", "-w", "-fPIC", "-shared"]


def fingerprint() -> str:
    """What a build is made from: the sources and the interpreter."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(Path(__file__).read_bytes())
    for names in SOURCES.values():
        for name in names:
            digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


def is_built() -> bool:
    """Whether a compiled core of just these sources is there."""
    try:
        return STAMP.read_text() == fingerprint()
    except OSError:
        return False


def compiler() -> list[str]:
    """The C compiler's command; empty when there is none, or no Python.h."""
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return []
    wanted = (sysconfig.get_config_var("CC") or "cc").split()
    for command in (wanted, ["cc"], ["gcc"], ["clang"]):
        if shutil.which(command[0]):
            return command
    return []


def build() -> str:
    """Build what is not built yet; returns what there is to say about it."""
    if is_built():
        return _UP_TO_DATE
    command = compiler()
    if not command:
        return f"No C compiler or no Python.h: {_INSTEAD}"
    try:
        import Cython  # noqa: F401
        import numpy  # noqa: F401
    except ImportError as error:
        return f"{error}: {_INSTEAD}"
    with _alone(), tempfile.TemporaryDirectory() as top:
        if is_built():  # by whoever was waited for
            return _UP_TO_DATE
        wanted = fingerprint()
        folder = Path(top, *_PACKAGE.split("."))
        for module in SOURCES:
            if problem := _compiled(module, folder, command):
                return f"{problem}: {_INSTEAD}"
        # Until the new stamp is there, whatever is left of this by a kill counts as not built.
        STAMP.unlink(missing_ok=True)
        for module in SOURCES:
            # In one step: a run that has the old file open keeps it.
            target = HERE / f"{module}{_SUFFIX}"
            shutil.copy(folder / target.name, f"{target}.new")
            Path(f"{target}.new").replace(target)
        new_stamp = STAMP.with_suffix(".new")
        new_stamp.write_text(wanted)
        new_stamp.replace(STAMP)
    return "The compiled backtest core is built."


@contextmanager
def _alone() -> Iterator[None]:
    """One build of this folder at a time."""
    folder = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _compiled(module: str, folder: Path, command: list[str]) -> str:
    """Make the module in `folder`, which is where Cython looks for its .pxd; returns what went wrong."""
    import numpy
    from Cython.Compiler.Main import compile_single
    from Cython.Compiler.Options import CompilationOptions

    folder.mkdir(parents=True, exist_ok=True)
    packages = (folder, *folder.parents[: _PACKAGE.count(".")])
    for package in packages:
        Path(package, "__init__.py").touch()
    names = SOURCES[module]
    made = [shutil.copy(HERE / name, Path(folder, module).with_suffix(Path(name).suffix)) for name in names]
    code = Path(folder, module).with_suffix(".c")
    options = CompilationOptions(
        compiler_directives=_DIRECTIVES, output_file=str(code), include_path=[str(packages[-1].parent)]
    )
    if compile_single(str(made[0]), options, full_module_name=f"{_PACKAGE}.{module}").num_errors:
        return f"Cython could not translate {module}"
    headers = [f"-I{sysconfig.get_path('include')}", f"-I{numpy.get_include()}"]
    output = ["-o", f"{folder}/{module}{_SUFFIX}", str(code), "-lm"]
    ran = subprocess.run([*command, *_FLAGS, *headers, *output], capture_output=True, text=True, check=False)
    return f"{ran.stderr}\n{module} was not compiled" if ran.returncode else ""


if __name__ == "__main__":
    if (said := build()) != _UP_TO_DATE:
        sys.stdout.write(said + "\n")
