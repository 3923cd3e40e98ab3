"""Building the compiled core in place: `python -m services.strategy.backtest.compile`, which `make setup` calls.

core.py becomes the module `_core`, with the types of core.pxd; `_arrays.pyx` and `_bars.pyx` have what is worth writing
in C only. Where there is no C compiler nothing is built and nothing fails: the pure Python files do the same.
"""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
_PACKAGE = "services.strategy.backtest"
_INSTEAD = "backtests use the pure Python core (same results, slower)."
STAMP = HERE / "_compiled.stamp"
_SOURCES = {"_core": ("core.py", "core.pxd"), "_arrays": ("_arrays.pyx",), "_bars": ("_bars.pyx",)}
_DIRECTIVES = {"language_level": 3, "annotation_typing": False}
# -ffp-contract=off: a fused multiply-add would round once where TA-Lib and Python round twice.
_FLAGS = ["-O3", "-ffp-contract=off", "-fno-strict-aliasing", "-DNDEBUG", "-w", "-fPIC", "-shared"]


def fingerprint() -> str:
    """What a build is made from: the sources and the interpreter."""
    digest = hashlib.sha256(sys.version.encode())
    digest.update(Path(__file__).read_bytes())
    for names in _SOURCES.values():
        for name in names:
            digest.update((HERE / name).read_bytes())
    return digest.hexdigest()


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
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return "The compiled backtest core is up to date."
    command = compiler()
    if not command:
        return f"No C compiler or no Python.h: {_INSTEAD}"
    try:
        import numpy
        from Cython.Compiler.Main import compile_single
        from Cython.Compiler.Options import CompilationOptions
    except ImportError as error:
        return f"{error}: {_INSTEAD}"
    STAMP.unlink(missing_ok=True)
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    with tempfile.TemporaryDirectory() as top:
        # Cython looks for a module's .pxd where the package would be.
        folder = Path(top, *_PACKAGE.split("."))
        folder.mkdir(parents=True)
        for package in (folder, *folder.parents[: _PACKAGE.count(".")]):
            Path(package, "__init__.py").touch()
        for module, names in _SOURCES.items():
            made = [shutil.copy(HERE / name, Path(folder, module).with_suffix(Path(name).suffix)) for name in names]
            code = Path(folder, module).with_suffix(".c")
            options = CompilationOptions(compiler_directives=_DIRECTIVES, output_file=str(code), include_path=[top])
            if compile_single(str(made[0]), options, full_module_name=f"{_PACKAGE}.{module}").num_errors:
                return f"Cython could not translate {module}: {_INSTEAD}"
            headers = [f"-I{sysconfig.get_path('include')}", f"-I{numpy.get_include()}"]
            output = ["-o", f"{folder}/{module}{suffix}", str(code), "-lm"]
            compiled = subprocess.run(
                [*command, *_FLAGS, *headers, *output], capture_output=True, text=True, check=False
            )
            if compiled.returncode:
                return f"{compiled.stderr}\n{module} was not compiled: {_INSTEAD}"
        for module in _SOURCES:
            # In one step: a run that has the old file open keeps it.
            target = HERE / f"{module}{suffix}"
            shutil.copy(f"{folder}/{module}{suffix}", f"{target}.new")
            Path(f"{target}.new").replace(target)
    STAMP.write_text(fingerprint())
    return "The compiled backtest core is built."


if __name__ == "__main__":
    sys.stdout.write(build() + "\n")
