"""The COCO reader: order, labels, and what it refuses."""

from pathlib import Path

import pytest
from edgedet_evaluation.coco import is_object, read_coco
from edgedet_evaluation.errors import DataMismatch, DataMissing, DataUnreadable

BOX = (0, 3, 1.0, 2.0, 30.0, 40.0)


def annotation(box: list, **more) -> dict:
    return {"image_id": 0, "category_id": 1, "bbox": box, **more}


def test_photos_keep_their_order_and_categories_follow_their_ids(make_dataset):
    dataset = read_coco(*make_dataset(3, [BOX]))
    assert [photo.id for photo in dataset.photos] == [0, 1, 2]
    assert dataset.categories == ((1, "dog"), (3, "cat"), (7, "cow"))
    assert dataset.name == "instances"


def test_labels_are_found_by_name_in_any_order(make_dataset):
    dataset = read_coco(*make_dataset(1, [BOX]))
    assert dataset.category_ids(["cow", "dog"]) == [7, 1]


def test_as_many_labels_with_other_names_are_taken_in_order(make_dataset):
    categories = [{"id": 3 * place, "name": name} for place, name in enumerate("abcdefghij", start=1)]
    dataset = read_coco(*make_dataset(1, [(0, 3, *BOX[2:])], categories=categories))
    assert dataset.category_ids([*"abcdXfghij"]) == [3 * place for place in range(1, 11)]
    with pytest.raises(DataMismatch, match="label 'X' is none of the 10 categories"):
        dataset.category_ids([*"abcdXfghiY"])


def test_labels_that_stand_twice_are_refused(make_dataset):
    dataset = read_coco(*make_dataset(1, [BOX]))
    with pytest.raises(DataMismatch, match="label 'cat' stands twice"):
        dataset.category_ids(["cat", "dog", "cat"])


@pytest.mark.parametrize("labels", [["hound", "kitten", "cattle"], ["Cat", "Dog", "Cow"], ["hound", "cat", "cow"]])
def test_names_that_hardly_agree_are_not_taken_in_order(make_dataset, labels: list[str]):
    dataset = read_coco(*make_dataset(1, [BOX]))
    with pytest.raises(DataMismatch, match=r"rename the annotations' categories"):
        dataset.category_ids(labels)


def test_as_many_labels_in_another_order_are_not_taken_by_place(make_dataset):
    dataset = read_coco(*make_dataset(1, [BOX]))
    with pytest.raises(DataMismatch, match=r"'hound' .* not the 3 labels in their order either"):
        dataset.category_ids(["cat", "hound", "cow"])


def test_ids_in_quotes_are_numbers(make_dataset):
    changes = {
        "images": [{"id": "5", "file_name": "0.jpg"}],
        "categories": [{"id": "1", "name": "dog"}],
        "annotations": [annotation([1, 2, 30, 40]) | {"image_id": "5", "category_id": "1"}],
    }
    dataset = read_coco(*make_dataset(1, [], **changes))
    (box,) = dataset.content["annotations"]
    assert (box["image_id"], box["category_id"]) == (dataset.photos[0].id, dataset.categories[0][0]) == (5, 1)
    assert dataset.content["images"][0]["id"] == 5


def test_marks_and_sizes_in_quotes_are_numbers(make_dataset):
    changes = {"annotations": [annotation([1, 2, 30, 40]) | {"iscrowd": "0", "difficult": "0"}]}
    dataset = read_coco(*make_dataset(1, [], **changes))
    assert is_object(dataset.content["annotations"][0])
    changes["images"] = [{"id": 0, "file_name": "0.jpg", "width": "64", "height": "48"}]
    with pytest.raises(DataUnreadable, match="its annotation says 64 × 48: give the photos"):
        read_coco(*make_dataset(1, [], **changes))


def test_labels_that_fit_neither_way_are_refused_by_name(make_dataset):
    dataset = read_coco(*make_dataset(1, [BOX]))
    with pytest.raises(DataMismatch, match="'hound'"):
        dataset.category_ids(["hound", "cat"])


def test_the_checksum_follows_annotations_and_photos(make_dataset):
    annotations, photos = make_dataset(2, [BOX])
    first = read_coco(annotations, photos).sha256
    assert read_coco(annotations, photos).sha256 == first
    (photos / "1.jpg").write_bytes(b"other")
    assert read_coco(annotations, photos).sha256 != first


def test_annotations_are_numbered_from_1_and_get_the_fields_that_they_lack(make_dataset):
    bare, full = annotation([1, 2, 30, 40], id=0), annotation([1, 2, 30, 40], id=0, area=7, iscrowd=1)
    dataset = read_coco(*make_dataset(1, [], annotations=[bare, full]))
    found = [(item["id"], item["iscrowd"], item["area"]) for item in dataset.content["annotations"]]
    assert found == [(1, 0, 1200), (2, 1, 7)]


def test_boxes_of_no_width_or_height_are_left_out(make_dataset):
    boxes = [[1, 2, 0, 40], [1, 2, 30, 40], [1, 2, 30, 0], [9, 9, -3, -4]]
    dataset = read_coco(*make_dataset(1, [], annotations=[annotation(box) for box in boxes]))
    assert [item["bbox"] for item in dataset.content["annotations"]] == [[1, 2, 30, 40]]


def test_a_listed_photo_that_is_not_there_is_named(make_dataset):
    annotations, photos = make_dataset(2, [BOX])
    (photos / "1.jpg").unlink()
    with pytest.raises(DataMissing, match=r"1\.jpg"):
        read_coco(annotations, photos)


def test_missing_annotations_are_told_by_path(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"nothing\.json"):
        read_coco(tmp_path / "nothing.json", tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [{"id": 1}]}, r"images\[0\].file_name: Field required"),
        ({"annotations": []}, "nothing to measure"),
        ({"categories": [{"id": "x", "name": "cat"}]}, r"categories\[0\].id: .* a valid integer"),
        ({"images": None}, "not COCO's JSON: images: Input should be a valid array"),
        ({"images": [{"id": 0, "file_name": "0.jpg"}] * 2}, "images has the id 0 twice"),
        (
            {"images": [{"id": n, "file_name": "0.jpg"} for n in (0, 1)]},
            "images has the file_name 0.jpg twice: each may stand once",
        ),
        ({"categories": [{"id": 3, "name": "cat"}, {"id": 3, "name": "cow"}]}, "categories has the id 3 twice"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "cat"}]}, "categories has the name cat twice"),
        ({"annotations": [annotation([1, 2, 0, 4])]}, "0 boxes that have an area: nothing to measure"),
        ({"annotations": [{"image_id": 0, "category_id": 1}]}, r"annotations\[0\].bbox: Field required"),
        ({"annotations": [annotation([1, 2, 3])]}, r"annotations\[0\].bbox: .* at least 4 items"),
        ({"annotations": [annotation([1, 2, 1e200, 4])]}, r"annotations\[0\].bbox\[2\]: .* less than or equal"),
        (
            {"annotations": [annotation([1, 2, 3, 4], area=-12)]},
            r"annotations\[0\].area: .* greater than or equal to 0",
        ),
        ({"annotations": [annotation([1, 2, 3, 4], area=1e12)]}, r"annotations\[0\].area: .* less than or equal"),
        ({"annotations": [annotation([1, 2, 3, 4]), annotation([1, 2, "3", 4])]}, r"annotations\[1\].bbox\[2\]"),
        ({"annotations": [annotation([1, 2, 3, 4], area="large")]}, r"annotations\[0\].area: .* valid number"),
        (
            {"annotations": [annotation([1, 2, float("nan"), 4])]},
            r"instances\.json .*annotations\[0\].bbox\[2\]: .* a finite number",
        ),
    ],
)
def test_other_json_is_refused_with_the_field(make_dataset, changes: dict, message: str):
    with pytest.raises(DataUnreadable, match=message):
        read_coco(*make_dataset(1, [BOX], **changes))


def test_a_file_that_is_no_json_is_refused(tmp_path: Path):
    path = tmp_path / "instances.json"
    path.write_text("{")
    with pytest.raises(DataUnreadable, match="not COCO's JSON"):
        read_coco(path, tmp_path)
