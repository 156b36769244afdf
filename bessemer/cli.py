"""The command line. Every command ends by saying what to do next; a user's mistake is one sentence and exit code 2."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bessemer.core.errors import Interrupted, UserError

if TYPE_CHECKING:
    from bessemer.core.recipe import Recipe
    from bessemer.core.run import RunResult

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False,
                  help="Raw data in, a large model out: one recipe, one command.")
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, such as runs/NAME, or a stage's in it. Of several "
                                                               "models the first that the recipe's evaluate lists.")]
EncodingOption = Annotated[str | None, typer.Option(help="The encoding of a file of text that is not UTF-8, such as cp1256; by default "
                                                         "what the run's sources name, or what its bytes show.")]


@app.command()
def run(recipe: Annotated[Path, typer.Argument(help="A recipe, YAML.")],
        overrides: Annotated[list[str] | None, typer.Argument(metavar="[key.path=value]...", help="Settings in place of the recipe's.")]
        = None,
        until: Annotated[str | None, typer.Option(help="The last stage to run.")] = None) -> None:
    """Run a recipe: only what changed is computed; stopped at any moment, it goes on where it stopped."""
    from bessemer.api import run as run_recipe
    from bessemer.app import console
    from bessemer.core.events import Events

    with console.Bars() as bars:
        try:
            result = run_recipe(recipe, *(overrides or []), until=until, events=Events([bars]))
        except Interrupted as stopped:
            words = shlex.join(["bessemer", "run", str(recipe), *(overrides or []), *(["--until", until] if until else [])])
            raise Interrupted(f"{stopped}; to go on from there: {words}", stopped.signal_number) from None
    for stage in result.stages.values():
        if (stage.folder / "scores.json").is_file():
            timed = json.loads((stage.folder / "results.json").read_text(encoding="utf-8"))
            console.results(json.loads((stage.folder / "scores.json").read_text(encoding="utf-8")), timed["latency_ms"])
    _next(result)


def _next(result: RunResult) -> None:
    from bessemer.app.answers import example
    from bessemer.app.console import out

    root = result.root
    if any("report.html" in stage.manifest.published for stage in result.stages.values()):
        out.print(f"report: {root / 'report.html'}")
    lines = [f"bessemer run {root / 'recipe.yaml'}"]
    if any((stage.folder / "predictor.json").is_file() for stage in result.stages.values()):
        lines = [example(root), f"bessemer evaluate {root} --data FILE", f"bessemer serve {root}", f"tensorboard --logdir {root}"]
    out.print("next:")
    for line in lines:
        out.print(f"  {line}", markup=False)


@app.command()
def plan(recipe: Annotated[Path, typer.Argument(help="A recipe, YAML.")],
         overrides: Annotated[list[str] | None, typer.Argument(metavar="[key.path=value]...", help="Settings in place of the recipe's.")]
         = None) -> None:
    """Rehearse every stage on a handful of rows: what would fail, and the time, memory and disk of the real run."""
    from bessemer.app import console
    from bessemer.app.rehearse import rehearse
    from bessemer.core.events import Events
    from bessemer.core.recipe import load_recipe

    made = load_recipe(recipe, overrides or [])
    with console.Bars() as bars:
        found = rehearse(made, Events([bars]))
    console.forecast(found)
    if found.problems:
        console.out.print("next: mend what is named above, then: " + shlex.join(["bessemer", "plan", str(recipe), *(overrides or [])]),
                          markup=False)
        raise typer.Exit(2)
    console.out.print("next: " + shlex.join(["bessemer", "run", str(recipe), *(overrides or [])]), markup=False)


@app.command()
def init(data: Annotated[Path, typer.Argument(help="Your file or folder: CSV, TSV, JSONL, Parquet, Arrow, Excel (book.xlsx#sheet), "
                                              "SQLite (shop.db#table), labelled lines, texts by class.")],
         target: Annotated[list[str] | None, typer.Option(help="The column to learn; several times for several.")] = None,
         task: Annotated[str | None, typer.Option(help="regression, classification, multilabel or tags; by default as the "
                                                                         "values look.")] = None,
         force: Annotated[bool, typer.Option(help="Write over a recipe that is there.")] = False,
         encoding: Annotated[str | None, typer.Option(help="The encoding of a file of text that is not UTF-8, such as cp1256; by default "
                                                           "what its bytes show.")] = None) -> None:
    """Look at a file and write a commented recipe for it into the current folder."""
    from bessemer.app.console import out
    from bessemer.app.starter import write_recipe

    file, found = write_recipe(data, target or [], task, force, encoding)
    for line in found:
        out.print(line, markup=False)
    out.print(f"wrote {file}\nnext:\n  bessemer plan {file}\n  bessemer run {file}", markup=False)


@app.command()
def predict(run: RunArgument,
            texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="Texts, or rows as JSON objects.")] = None,
            file: Annotated[Path | None, typer.Option(help="A file of rows to predict.")] = None,
            output: Annotated[Path | None, typer.Option(help="Where to write them: .csv, .jsonl or .parquet.")] = None,
            form: Annotated[str | None, typer.Option(help="The form that answers, such as torch-float32.")] = None,
            coverage: Annotated[float | None, typer.Option(help="Give a label only where it is sure, to about this part of the rows: "
                                                                "0.5, 0.6, 0.7, 0.8, 0.9 or 0.95.")] = None,
            encoding: EncodingOption = None) -> None:
    """Predict texts, rows such as '{"a": 1, "b": "x"}', or every row of a file."""
    from bessemer.app.answers import predict_file, show_predictions
    from bessemer.core.artifact import explained

    if bool(texts) == (file is not None):
        raise UserError("give texts to predict, or --file FILE, one of the two; rows of a table are JSON objects")
    with explained(output or Path.cwd(), "choose another place with --output FILE"):
        if file is not None:
            predict_file(run, file, output, form, coverage, encoding)
        else:
            if output is not None or encoding is not None:
                raise UserError(f"--{'output' if output is not None else 'encoding'} goes with --file; texts are answered on the screen")
            show_predictions(run, list(texts or []), form, coverage)


@app.command()
def embed(run: RunArgument, file: Annotated[Path, typer.Argument(help="A file of rows.")],
          output: Annotated[Path, typer.Option(help="Where to write the vectors: .parquet.")] = Path("embeddings.parquet"),
          stage: Annotated[str | None, typer.Option(help="The stage whose network makes them; by default the fine-tuned one; of several "
                                                        "the first that evaluate lists.")] = None,
          pooling: Annotated[str, typer.Option(help="Of a text's tokens: mean, or first.")] = "mean",
          raw: Annotated[bool, typer.Option(help="Leave the vectors as long as they are; by default each has length 1.")] = False,
          encoding: EncodingOption = None) -> None:
    """Write a vector of fixed length for every row of a file."""
    from bessemer.app.embed import embed_file, open_embedder
    from bessemer.core.artifact import explained

    if pooling not in ("mean", "first"):
        raise UserError(f"--pooling {pooling}: expected mean or first")
    with explained(output, "choose another place with --output FILE"):
        embed_file(run, file, output, open_embedder(run, stage, "first" if pooling == "first" else "mean", not raw), encoding)


@app.command()
def evaluate(run: RunArgument, data: Annotated[Path, typer.Option(help="A file of labelled rows.")],
             form: Annotated[str | None, typer.Option(help="The form that answers, such as torch-float32.")] = None,
             encoding: EncodingOption = None) -> None:
    """Score a finished model on another file: every metric with its 95% interval."""
    from bessemer.app.answers import show_evaluation

    show_evaluation(run, data, form, encoding)


@app.command()
def serve(runs: Annotated[list[str] | None, typer.Argument(metavar="[RUN|NAME=FOLDER]...", help="Runs, or models with names.")] = None,
          models_folder: Annotated[Path | None, typer.Option(help="A folder of models, NAME/VERSION/; new ones are served.")] = None,
          port: Annotated[int | None, typer.Option(help="The port; 8000 by default, 0 for any that is free.")] = None,
          host: Annotated[str | None, typer.Option(help="The address to listen on; 127.0.0.1 by default.")] = None,
          form: Annotated[str | None, typer.Option(help="The form that answers, such as onnx-float32.")] = None,
          workers: Annotated[int | None, typer.Option(help="Processes that answer; one a core by default.")] = None,
          threads: Annotated[int | None, typer.Option(help="Threads that compute, a process; 1 by default.")] = None,
          max_queue: Annotated[int | None, typer.Option(help="Rows that may wait in a process; more are answered 429.")] = None,
          max_wait_ms: Annotated[float | None, typer.Option(help="How long a row may wait for others of like length.")] = None,
          max_items: Annotated[int | None, typer.Option(help="Rows of one request.")] = None,
          max_bytes: Annotated[int | None, typer.Option(help="Bytes of one request.")] = None,
          max_chars: Annotated[int | None, typer.Option(help="Characters of one text.")] = None,
          timeout: Annotated[float | None, typer.Option(help="Seconds until a request without an answer is answered 503.")] = None,
          head_timeout: Annotated[float | None, typer.Option(help="Seconds in which the head of a request must have come.")] = None,
          max_connections: Annotated[int | None, typer.Option(help="Open connections of a process.")] = None,
          api_key_file: Annotated[Path | None, typer.Option(help="A file with one key a line, one of which a request must bring.")] = None,
          insecure: Annotated[bool, typer.Option(help="Let others in without keys.")] = False) -> None:
    """Serve finished models: REST, a page to try them, metrics; new versions are taken up without losing a request."""
    from bessemer.app.serving import Asked, serve

    serve(Asked(runs or [], models_folder, api_key_file, insecure, {
        "port": port, "host": host, "form": form, "workers": workers, "threads": threads, "max_queue": max_queue,
        "max_wait_ms": max_wait_ms, "max_items": max_items, "max_bytes": max_bytes, "max_chars": max_chars, "timeout": timeout,
        "head_timeout": head_timeout, "max_connections": max_connections}))


@app.command()
def update(run: RunArgument, files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Files of new labelled rows.")],
           setting: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="A setting of the update.")] = None,
           stage: Annotated[str | None, typer.Option(help="The stage whose network learns; by default that which answers.")] = None,
           encoding: EncodingOption = None) -> None:
    """Learn new rows without forgetting the old; promoted only if old rows lose nothing and new ones gain."""
    from bessemer.app import console
    from bessemer.app.updates import show, update
    from bessemer.core.events import Events

    with console.Bars() as bars:
        result, name = update(run, files, setting or [], Events([bars]), stage, encoding)
    show(result, name)


@app.command()
def compress(run: RunArgument, size_mb: Annotated[float | None, typer.Option(help="Millions of bytes on disk at most.")] = None,
             latency_ms: Annotated[float | None, typer.Option(help="Milliseconds of one row at most, median.")] = None,
             accuracy_drop: Annotated[float | None, typer.Option(help="What may be lost on the validation rows, such as 0.005.")] = None,
             memory_mb: Annotated[float | None, typer.Option(help="Millions of bytes in memory at most.")] = None,
             minutes: Annotated[float | None, typer.Option(help="Time for the search; 20 by default.")] = None,
             trials: Annotated[int | None, typer.Option(help="Smaller networks that are looked at at most; 40 by default.")] = None,
             stage: Annotated[str | None, typer.Option(help="The stage whose network is compressed; by default that which answers.")] = None
             ) -> None:
    """Search for a form of the trained network that meets a budget; the front, the choice, and the run brought up to date."""
    from bessemer.app import console
    from bessemer.app.compressing import compress as search
    from bessemer.app.compressing import show
    from bessemer.core.events import Events

    budget = {"size_mb": size_mb, "latency_ms": latency_ms, "accuracy_drop": accuracy_drop, "memory_mb": memory_mb}
    with console.Bars() as bars:
        result, name = search(run, budget, {"minutes": minutes, "trials": trials}, Events([bars]), stage)
    show(result, name)


@app.command()
def bench(run: RunArgument, batch: Annotated[str, typer.Option(help="Rows that are asked for at once, with commas between.")] = "1,16",
          seconds: Annotated[float, typer.Option(help="How long the forms are timed in all.")] = 20.0,
          output: Annotated[Path | None, typer.Option(help="A file for the numbers, JSON.")] = None) -> None:
    """Measure every form of a run on this machine: latency, throughput, memory, size."""
    from bessemer.app import console
    from bessemer.app.bench import bench as measure
    from bessemer.app.bench import check_output, numbers, show
    from bessemer.core.artifact import explained
    from bessemer.core.events import Events

    batches = numbers(batch)
    check_output(output)
    with explained(output or run, "choose another place with --output FILE"):
        with console.Bars() as bars:
            found = measure(run, batches, seconds, Events([bars]))
        show(found, output, lambda line: console.out.print(line, markup=False))


@app.command()
def report(run: RunArgument) -> None:
    """Bring a run's report up to date."""
    from bessemer.app.exporting import with_report

    recipe, name = with_report(run)
    _next(_brought(recipe, name, run))


@app.command()
def export(run: RunArgument, to: Annotated[str | None, typer.Option(help="onnx, openvino or torch; as the recipe says by default.")] = None,
           stage: Annotated[str | None, typer.Option(help="The stage whose network is exported; by default as the recipe says, else that "
                                                          "which answers.")] = None) -> None:
    """Bring a run's export up to date: one folder that predicts without torch (to torch: a program of its own)."""
    from bessemer.app import console
    from bessemer.app.exporting import aside, outdated, with_export

    recipe, name, notes = with_export(run, to, stage)
    for line in notes:
        console.err.print(line, markup=False)
    result = _brought(recipe, name, run)
    behind = outdated(result, name) or aside(result, name)
    if behind is not None:
        console.out.print(behind, markup=False)
    _next(result)


def _brought(recipe: Recipe, name: str, root: Path) -> RunResult:
    """Bring a run up to date as far as one of its stages."""
    from bessemer.app import console
    from bessemer.core.events import Events
    from bessemer.core.run import Options, execute

    with console.Bars() as bars:
        result = execute(recipe, Events([bars]), Options(until=name, root=root, tentative=True))
    console.out.print(f"{name}: {result.stages[name].folder}", markup=False)
    return result


@app.command()
def datasets(action: Annotated[str | None, typer.Argument(metavar="[get]", help="Fetch NAME; without it the catalogue is listed.")] = None,
             name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A name of the catalogue.")] = None) -> None:
    """List the catalogue of real data and weights; `get NAME` fetches one."""
    from bessemer.app.catalogue import get_dataset, list_datasets

    if action is None:
        list_datasets()
    elif action == "get" and name:
        get_dataset(name)
    else:
        raise UserError("expected `bessemer datasets` or `bessemer datasets get NAME`")


@app.command()
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    from bessemer.app.catalogue import recipe_schema

    json.dump(recipe_schema(), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


@app.command()
def doctor(run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run's folder, whose checksums are verified.")] = None
           ) -> None:
    """Check the machine, the installation and a run's folder."""
    from bessemer.app.console import out
    from bessemer.app.doctor import examine

    findings = list(examine(run))
    for item in findings:
        out.print(f"{'✓' if item.good else '✗'} {item.what}: {item.state}", markup=False, style=None if item.good else "red")
    if not all(item.good for item in findings):
        out.print("next: mend what is marked ✗")
        raise typer.Exit(2)
    out.print("next: bessemer datasets, or bessemer init FILE --target COLUMN")


def _version(value: bool) -> None:
    if value:
        from bessemer import __version__

        typer.echo(f"bessemer {__version__}")
        raise typer.Exit()


@app.callback()
def _options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False
             ) -> None:
    pass


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and return its exit code; console script entry point."""
    try:
        app(args=arguments, prog_name="bessemer")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        sys.exit(128 + stopped.signal_number)
    except KeyboardInterrupt:
        print("\nstopped; run the same command to go on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
