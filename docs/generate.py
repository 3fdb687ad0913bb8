"""Documents that are made out of the code: `python docs/generate.py` writes them, `--check` compares."""

import argparse
import json
import sys
from pathlib import Path

from chip_sweeps import accelerator_readme
from edgedet_runtime.manifest import Manifest
from figures import readme_with_figures
from nvm_speeds import physics_with_speeds
from published_chips import with_published_chips
from recipe_tables import compression_readme

DOCS = Path(__file__).parent


def documents() -> list[tuple[Path, str]]:
    """Every generated document: its path and its content."""
    return [
        (DOCS / "manifest.schema.json", _json(Manifest.model_json_schema())),
        (DOCS.parent / "README.md", readme_with_figures()),
        (DOCS / "nvm.md", with_published_chips(physics_with_speeds())),
        (DOCS.parent / "compression" / "README.md", compression_readme()),
        (DOCS.parent / "nvm_accelerator" / "README.md", accelerator_readme()),
    ]


def main() -> int:
    """Write the documents, or say which of them are not what the code would write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a document is out of date")
    check = parser.parse_args().check
    stale = [(path, content) for path, content in documents() if not path.exists() or path.read_text() != content]
    for path, content in stale:
        if not check:
            path.write_text(content)
        sys.stdout.write(f"{path.relative_to(DOCS.parent)}: {'out of date' if check else 'written'}\n")
    return 1 if check and stale else 0


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
