"""Run a notebook in its own kernel and write it with outputs that a second run repeats byte for byte."""

from __future__ import annotations

import copy
import os
import re
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

from .exercise import derive, read_tasks, without_wrong
from .text import NotebookError, Source, label, read_source, tags, write

CELL_SECONDS = 300
"""A cell that takes longer is stuck: a whole lesson has 45."""

TIMING = "timing"
"""Tag of cells that show measured times; their stored outputs stay until the cell itself changes."""

_WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def build(source: Source) -> list[Path]:
    """Execute a source and write its notebook and, for a solution, the exercise; the files that changed.

    Nothing is written unless every cell ran.
    """
    if source.exercise:
        read_tasks(source)
    notebook = execute(without_wrong(read_source(source)), source)
    _keep_timings(notebook, source.notebook)
    outcome = [(notebook, source.notebook)]
    if source.exercise:
        outcome.append((derive(notebook), source.exercise))
    return [path for made, path in outcome if write(made, path)]


def execute(notebook: NotebookNode, source: Source) -> NotebookNode:
    """The notebook with its outputs; an exception or anything on stderr is an error that shows the cell."""
    done = run_cells(notebook, source)
    for cell in done.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream" and output.name == "stderr":
                raise _failure(source, cell, "stderr에 쓴 것이 있습니다(경고도 고쳐야 합니다).", output.text)
    return done


def run_cells(notebook: NotebookNode, source: Source, allow_errors: bool = False) -> NotebookNode:
    """A copy of the notebook after a run beside its source, in a fresh kernel of this interpreter, on one thread."""
    done = copy.deepcopy(notebook)
    running: list[NotebookNode] = []
    client = NotebookClient(
        done,
        km=AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[])),
        timeout=CELL_SECONDS,
        allow_errors=allow_errors,
        force_raise_errors=not allow_errors,
        record_timing=False,
        store_widget_state=False,
        on_cell_start=lambda cell, cell_index: running.append(cell),
        extra_arguments=["--log-level=ERROR"],
    )
    with tempfile.TemporaryDirectory(prefix="residual-lab-", ignore_cleanup_errors=True) as scratch:
        own = {"RESIDUAL_LAB_HOME": f"{scratch}/home", "IPYTHONDIR": f"{scratch}/ipython", "OMP_NUM_THREADS": "1"}
        try:
            client.execute(cleanup_kc=True, cwd=str(source.path.parent), env={**os.environ, **own})
        except CellExecutionError as error:
            trace = [line for output in running[-1].outputs for line in output.get("traceback", [])]
            raise _failure(source, running[-1], f"오류가 났습니다. {error.ename}: {error.evalue}", *trace) from error
        except CellTimeoutError as error:
            raise _failure(source, running[-1], f"{CELL_SECONDS}초 안에 끝나지 않았습니다.") from error
        except DeadKernelError as error:
            raise _failure(source, running[-1], "커널이 실행 도중에 죽었습니다(메모리가 모자랄 수 있습니다).") from error
    done.metadata = copy.deepcopy(notebook.metadata)
    _clean(done)
    return done


def _failure(source: Source, cell: NotebookNode, what: str, *shown: str) -> NotebookError:
    lines = [f"{source.name}.md, 셀 {label(cell)}: {what}", "---- 셀 ----", cell.source]
    if shown:
        lines += ["---- 출력 ----", *shown]
    return NotebookError(_COLOUR.sub("", "\n".join(lines)).rstrip())


def _clean(notebook: NotebookNode) -> None:
    """Number the cells, join streams, and drop what only a running kernel can show."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code, 1):
        cell.execution_count = number
        outputs: list[NotebookNode] = []
        for output in cell.outputs:
            if output.output_type == "stream" and outputs and outputs[-1].get("name") == output.name:
                outputs[-1].text += output.text
                continue
            for part in (output.get("data", {}), output.get("metadata", {})):
                part.pop(_WIDGET_VIEW, None)
            if output.output_type == "execute_result":
                output.execution_count = number
            if output.get("data") != {}:
                outputs.append(output)
        cell.outputs = outputs


def _keep_timings(notebook: NotebookNode, stored: Path) -> None:
    """Times differ in every run: a timing cell that did not change keeps the outputs it has."""
    try:
        old = {cell.get("id"): cell for cell in nbformat.read(stored, as_version=4).cells}
    except (FileNotFoundError, ValueError, nbformat.ValidationError):  # a damaged one has none that could be kept
        return
    for cell in notebook.cells:
        before = old.get(cell.id)
        if TIMING in tags(cell) and before is not None and before.source == cell.source:
            cell.outputs = before.outputs
