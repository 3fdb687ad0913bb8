"""Photos in one folder per label."""

import shutil
from pathlib import Path

import pytest
from edgedet_evaluation.errors import DataMismatch, DataMissing
from edgedet_evaluation.labeled_folders import read_labeled_folders


@pytest.fixture
def folder(tmp_path: Path, sample_photos: list[Path]) -> Path:
    for label, photo in (("cat", sample_photos[0]), ("dog", sample_photos[1]), ("dog", sample_photos[2])):
        (tmp_path / label).mkdir(exist_ok=True)
        shutil.copy(photo, tmp_path / label)
    (tmp_path / "dog" / "notes.txt").write_text("no photo")
    return tmp_path


def test_every_photo_gets_the_index_of_its_folders_label(folder: Path):
    found = read_labeled_folders(folder, ("dog", "cow", "cat"))
    assert found.labels == (2, 0, 0)
    assert [path.parent.name for path in found.files] == ["cat", "dog", "dog"]


def test_other_labels_of_the_same_photos_are_another_data_set(folder: Path):
    before = read_labeled_folders(folder, ("dog", "cow", "cat"))
    (folder / "cat").rename(folder / "cow")
    after = read_labeled_folders(folder, ("dog", "cow", "cat"))
    assert [path.name for path in after.files] == [path.name for path in before.files]
    assert after.sha256 != before.sha256


def test_a_folder_that_is_no_label_is_named(folder: Path):
    with pytest.raises(DataMismatch, match="cat is none of the labels: dog, cow"):
        read_labeled_folders(folder, ("dog", "cow"))


def test_hidden_folders_are_passed_over(folder: Path):
    (folder / ".thumbnails").mkdir()
    shutil.copy(next((folder / "cat").iterdir()), folder / ".thumbnails")
    assert len(read_labeled_folders(folder, ("dog", "cat")).files) == 3


def test_a_folder_without_photos_is_told(tmp_path: Path):
    with pytest.raises(DataMissing, match="no photo LABEL/NAME"):
        read_labeled_folders(tmp_path, ("dog",))


def test_a_folder_that_two_labels_name_is_refused_and_labels_without_photos_may_be_alike(folder: Path):
    with pytest.raises(DataMismatch, match="/dog may be of either of two labels: name"):
        read_labeled_folders(folder, ("dog", "cat", "dog"))
    assert read_labeled_folders(folder, ("dog", "cat", "ox", "ox")).labels == (1, 0, 0)
