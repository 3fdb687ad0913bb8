"""A session with a cloud by somebody who knows nothing of EdgeDet: Triton's client, numpy, and tensors in files.

A process of its own: Triton's messages and ours have the same names, as they should, and protobuf takes only one
definition per process. Usage: python triton_session.py HOST:PORT FOLDER; reads boundary-K.npz and photo.jpg, writes
answers.npz and facts.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

NAME = "yolov3-tiny-coco"


def inputs_of(file: Path) -> list[Any]:
    inputs = []
    for name, tensor in np.load(file).items():
        inputs.append(triton.InferInput(name, list(tensor.shape), "UINT8"))
        inputs[-1].set_data_from_numpy(tensor)
    return inputs


def photo_input(file: Path) -> Any:
    given = triton.InferInput("photo", [1], "BYTES")
    given.set_data_from_numpy(np.array([file.read_bytes()], dtype=object))
    return given


def refusal_of(client: Any, name: str, inputs: list[Any]) -> list[str]:
    try:
        client.infer(name, inputs)
    except triton.InferenceServerException as error:
        return [error.status(), error.message()]
    return ["OK", ""]


def described(tensors: Any) -> list[list[Any]]:
    return [[tensor.name, tensor.datatype, list(tensor.shape)] for tensor in tensors]


def main(address: str, folder: Path) -> None:
    with triton.InferenceServerClient(address) as client:
        metadata = client.get_model_metadata(NAME)
        facts = {
            "live": client.is_server_live(),
            "ready": client.is_server_ready(),
            "model_ready": [client.is_model_ready(NAME), client.is_model_ready(NAME, "1")],
            "server": client.get_server_metadata().name,
            "model": [metadata.name, list(metadata.versions)],
            "inputs": described(metadata.inputs),
            "outputs": described(metadata.outputs),
        }
        files = sorted(folder.glob("boundary-*.npz"))
        answers = {file.stem: client.infer(NAME, inputs_of(file)).as_numpy("detections") for file in files}
        raw = client.infer(NAME, inputs_of(files[-1])[::-1], parameters={"boundary": 6, "raw": True}, request_id="mine")
        answers |= {name: raw.as_numpy(name) for name in ("head_32", "head_16")}
        facts["echo"] = [raw.get_response().id, raw.get_response().model_name, raw.get_response().model_version]
        photo = photo_input(folder / "photo.jpg")
        answers["photo"] = client.infer(NAME, [photo]).as_numpy("detections")
        answers["nothing"] = client.infer(NAME, [photo], parameters={"score_threshold": 1.0}).as_numpy("detections")
        facts["unknown_model"] = refusal_of(client, "other", [photo])
        facts["mixed_inputs"] = refusal_of(client, NAME, [photo, *inputs_of(files[0])])
    np.savez(folder / "answers.npz", **answers)
    (folder / "facts.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
