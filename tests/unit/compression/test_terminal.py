"""Progress where standard error is no terminal: a log file gets a line for each step that is done."""

import re

import pytest
from edgedet_compression.terminal import bars


def test_a_step_is_one_line_once_it_is_done(capsys: pytest.CaptureFixture[str]):
    with bars() as progress:
        progress("stage dense (train)", 0)
        epoch = progress("epoch 1 of 2", 3)
        epoch()
        epoch()
        assert capsys.readouterr().err == "stage dense (train)\n"
        epoch("loss 0.53, top1 0.91")
        assert re.fullmatch(r"epoch 1 of 2: loss 0\.53, top1 0\.91 \(\d+ s\)\n", capsys.readouterr().err)
        reading = progress("reading [photos]", 1)
        progress("left undone", 2)()
        reading()
    assert re.fullmatch(r"reading \[photos\] \(\d+ s\)\n", capsys.readouterr().err)
