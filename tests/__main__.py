"""``python -m tests``: every test. What needs containers waits most of the time, so the others run beside it."""

import shutil
import subprocess
import sys
import tempfile

PYTEST = (sys.executable, "-m", "pytest", "-m")
ON_BOTH_CORES = ("-n", "2", "--dist", "loadfile")
"""Each of the two processes has a PostgreSQL of its own."""
WITH_CONTAINERS = ("container and not asterisk16", "asterisk16")
"""One after the other: each starts an Asterisk of its version."""


def main() -> int:
    """Run them; return 0 if all passed. What those without containers said is shown at the end."""
    with tempfile.TemporaryFile() as said:
        others = subprocess.Popen([*PYTEST, "not container", *ON_BOTH_CORES], stdout=said, stderr=subprocess.STDOUT)
        try:
            codes = [subprocess.call([*PYTEST, marked]) for marked in WITH_CONTAINERS]
            print("and the tests that need no container:", flush=True)  # noqa: T201
            codes.append(others.wait())
        except KeyboardInterrupt:
            codes = [others.wait() or 130]  # it has heard the same Ctrl-C, and cleans up
        said.seek(0)
        shutil.copyfileobj(said, sys.stdout.buffer)
        sys.stdout.flush()
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main())
