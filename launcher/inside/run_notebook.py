"""Inside a container: run a notebook as a program (`command: train.ipynb`). Nothing newer than Python 3.8.

    run_notebook.py train.ipynb

The run's parameters are assigned in a cell behind the one tagged `parameters`, or else first, as papermill does it. What cells
say is said as they say it; the notebook with its outputs is an output of the run, after each cell. A cell's error ends it.
"""

import json
import os
import signal
import sys
from typing import Any

try:
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError
    from traitlets.config import Config
except ImportError as error:
    sys.exit(f"launch: this image cannot run notebooks: {error}; `nbclient` and `ipykernel` do that")


def main() -> None:
    path = sys.argv[1]
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception as error:  # whatever the file may hold
        sys.exit(f"launch: `{path}` cannot be read as a notebook: {str(error).splitlines()[0]}")
    with open(os.environ["LAUNCH_PARAMS"]) as file:
        add_parameters(notebook, json.load(file))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the kernel goes along
    client = Client(notebook, os.path.join(os.environ["LAUNCH_OUTPUTS"], os.path.basename(path)))
    try:
        client.execute()
    except CellExecutionError as error:
        # The traceback was said when it came.
        sys.exit(f"launch: cell {client.number} of `{path}` failed: {error.ename}: {error.evalue}")
    except DeadKernelError:
        sys.exit(f"launch: the kernel died in cell {client.number} of `{path}`")
    finally:
        client.save()


def add_parameters(notebook: Any, params: "dict[str, Any]") -> None:
    assignments = [f"{name} = {value!r}" for name, value in params.items() if name.isidentifier()]
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    if not assignments or language != "python":
        return
    source = "\n".join(["# parameters of the run", *assignments])
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    tagged = (n for n, each in enumerate(notebook.cells) if "parameters" in each.metadata.get("tags", ()))
    notebook.cells.insert(next(tagged, -1) + 1, cell)


class Client(NotebookClient):  # type: ignore[misc]
    def __init__(self, notebook: Any, target: str) -> None:
        language = notebook.metadata.get("kernelspec", {}).get("language", "python")
        # A notebook names the kernel of the machine where it was written.
        kernel = {"kernel_name": "python3"} if language == "python" else {}
        here = {"metadata": {"path": os.getcwd()}}
        # Sockets in files instead of TCP: nobody else on the network that the container has hears along.
        config = Config({"ConnectionFileMixin": {"transport": "ipc"}})
        super().__init__(notebook, timeout=None, resources=here, config=config, **kernel)
        self.number = 0
        self._target = target

    async def async_execute_cell(self, cell: Any, cell_index: int, *rest: Any, **options: Any) -> Any:
        self.number = cell_index + 1
        done = await super().async_execute_cell(cell, cell_index, *rest, **options)
        self.save()
        return done

    def process_message(self, message: "dict[str, Any]", *rest: Any) -> Any:
        content, kind = message["content"], message["msg_type"]
        if kind == "stream":
            say(content["text"], sys.stdout if content["name"] == "stdout" else sys.stderr)
        elif kind in ("execute_result", "display_data") and "text/plain" in content["data"]:
            say(content["data"]["text/plain"] + "\n", sys.stdout)
        elif kind == "error":
            say("\n".join(content["traceback"]) + "\n", sys.stderr)
        return super().process_message(message, *rest)

    def save(self) -> None:
        partial = self._target + ".partial"
        nbformat.write(self.nb, partial)
        os.replace(partial, self._target)


def say(text: str, stream: Any) -> None:
    stream.write(text)
    stream.flush()


main()
