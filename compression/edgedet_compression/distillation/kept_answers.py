"""What a teacher answered to images that come again: kept in a file beside it, for later epochs, runs and students."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgedet_compression.errors import SourceUnreadable


@dataclass(frozen=True)
class KeptAnswers:
    """A table of logits, each under a hash of the very network and images that they follow from.

    So nothing in it can be out of date. Several processes may use one file.
    """

    file: Path

    def find(self, question: bytes) -> Tensor | None:
        """The logits float [n, classes], where this was asked before.

        Raises:
            SourceUnreadable: the file is damaged.
            OSError: it cannot be read.
        """
        with self._table() as table:
            row = table.execute("SELECT classes, logits FROM answers WHERE question = ?", (question,)).fetchone()
        return None if row is None else torch.frombuffer(bytearray(row[1]), dtype=torch.float32).view(-1, row[0])

    def keep(self, question: bytes, logits: Tensor) -> None:
        """Keep the logits float [n, classes].

        Raises:
            SourceUnreadable: the file is damaged.
            OSError: it cannot be written, or the disk is full.
        """
        with self._table() as table:
            row = (question, logits.shape[1], logits.contiguous().numpy().tobytes())
            table.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.file, timeout=60)) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS answers (question BLOB PRIMARY KEY, classes INTEGER, logits BLOB)"
                )
                yield connection
        except sqlite3.OperationalError as error:
            raise OSError(f"{self.file}: {error}") from error
        except sqlite3.DatabaseError as error:
            raise SourceUnreadable(f"{self.file} is damaged ({error}): remove it, and run again") from error


def network_hash(network: nn.Module, dtype: torch.dtype) -> bytes:
    """Of its weights and buffers, and of the type that it computes in."""
    total = hashlib.sha256(str(dtype).encode())
    for name, values in network.state_dict().items():
        total.update(name.encode() + values.contiguous().numpy().tobytes())
    return total.digest()


def question_hash(network: bytes, images: Tensor) -> bytes:
    """Of a network's hash and images float [n, C, H, W]."""
    pixels = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy())  # no copy where channels are last
    return hashlib.sha256(network + repr(pixels.shape).encode() + pixels.tobytes()).digest()
