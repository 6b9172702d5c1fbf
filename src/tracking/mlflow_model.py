"""The files that make a model folder one of MLflow's, written without asking MLflow, which costs
seconds.
"""

import json
import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

MODEL_FILE = "MLmodel"
_EXAMPLE_FILE, _SERVING_FILE = "input_example.json", "serving_input_example.json"
_FLAVOR = "python_function"


def write_mlflow_model(
    folder: Path,
    *,
    loader_module: str,
    inputs: Mapping[str, bool],
    outputs: Mapping[str, Mapping[str, Any]],
    example: Mapping[str, str],
    packages: Sequence[str],
    metadata: Mapping[str, Any],
) -> None:
    """Write `MLmodel` and its companions into a folder, by which MLflow loads, serves and registers
    it.

    Args:
        loader_module: a module in the folder, with a function `_load_pyfunc(folder)`.
        inputs: the columns of texts that the model is given, and whether they must be there.
        outputs: the columns that it gives, with MLflow's description of their types.
        example: a row of the inputs.
        packages: what the module imports, pinned as they are installed here.
    """
    signature = {
        "inputs": json.dumps(
            [{"type": "string", "name": name, "required": must} for name, must in inputs.items()]
        ),
        "outputs": json.dumps(
            [{**kind, "name": name, "required": True} for name, kind in outputs.items()]
        ),
        "params": None,
    }
    python = platform.python_version()
    environment = {"conda": "conda.yaml", "virtualenv": "python_env.yaml"}
    description = {
        "flavors": {
            _FLAVOR: {
                "code": ".",
                "env": environment,
                "loader_module": loader_module,
                "python_version": python,
                "streamable": False,
            }
        },
        "is_signature_from_type_hint": False,
        "metadata": dict(metadata),
        "mlflow_version": version("mlflow"),
        "model_size_bytes": sum(path.stat().st_size for path in folder.rglob("*")),
        "model_uuid": uuid.uuid4().hex,
        "saved_input_example_info": {
            "artifact_path": _EXAMPLE_FILE,
            "pandas_orient": "split",
            "serving_input_path": _SERVING_FILE,
            "type": "dataframe",
        },
        "signature": signature,
        "type_hint_from_example": False,
        "utc_time_created": f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}",
    }
    rows = {"columns": list(example), "data": [list(example.values())]}
    # of a build such as 2.13.0+cpu only the version can be installed anywhere
    pins = [f"{name}=={version(name).partition('+')[0]}" for name in ("mlflow", *packages)]
    conda = {
        "channels": ["conda-forge"],
        "dependencies": [f"python={python}", "pip", {"pip": pins}],
        "name": "mlflow-env",
    }
    virtualenv = {"python": python, "dependencies": ["-r requirements.txt"]}
    # JSON is YAML
    for name, content in {
        MODEL_FILE: description,
        _EXAMPLE_FILE: rows,
        _SERVING_FILE: {"dataframe_split": rows},
        environment["conda"]: conda,
        environment["virtualenv"]: virtualenv,
    }.items():
        text = json.dumps(content, ensure_ascii=False, indent=2)
        (folder / name).write_text(f"{text}\n", encoding="utf-8")
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")


def describe_list(parts: Mapping[str, str]) -> dict[str, Any]:
    """MLflow's description of a column that holds lists of objects with these parts."""
    properties = {name: {"type": kind, "required": True} for name, kind in parts.items()}
    return {"type": "array", "items": {"type": "object", "properties": properties}}
