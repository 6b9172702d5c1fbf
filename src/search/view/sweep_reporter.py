"""The sweep's own MLflow run: its parameters, and a report of its trials, kept up to date."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from src.core.formatting import shorten_keys
from src.core.printing import print_line
from src.core.retry import describe_error
from src.search.budget import measure_budget
from src.search.replicates import (
    build_setting_columns,
    flatten_metrics,
    group_replicates,
    select_best_setting,
)
from src.search.trials import SweepSnapshot, TrialRecord
from src.tracking.mlflow_format import build_run_name

if TYPE_CHECKING:
    from src.search.search_config import Search
    from src.search.space import SearchSpace
    from src.search.sweep_study import SweepStudy
    from src.tracking.earlier_runs import RunInfo
    from src.tracking.run_record import RunRecord
    from src.tracking.store import Store

# drawing takes at most this share of the time
_MAX_TIME_SHARE = 0.05
# the sweep's active seconds are stored this often
_STORE_SECONDS = 10
# the tag of a sweep's best trial
_BEST_TRIAL_TAG = "search.best"


def create_sweep_record(
    store: "Store",
    *,
    name: str,
    overrides: Sequence[str],
    space: Mapping[str, str],
    search: Mapping[str, object],
    config_yaml: str,
    tags: Mapping[str, str] | None,
    resume: "RunInfo | None",
) -> "RunRecord":
    """Create the record of a sweep's run, whose MLflow parameters are the space and the search.

    Args:
        name: of the trials' runs, such as the experiment.
        overrides: the command line.
        space: the values of each parameter as typed, such as `interval(1e-6,1e-3)`.
        search: the node `search` of the config.
        config_yaml: the config of a trial without any value of the space.
        resume: the run of an earlier process that goes on; None for a new run.
    """
    sampler = search["sampler"]
    assert isinstance(sampler, Mapping)
    kind = str(sampler["_target_"]).rpartition(".")[2].lower()
    shown = [
        override
        for override in overrides
        if override.lstrip("+").partition("=")[0] not in space
        and not override.startswith(("search", "+experiment"))
    ]
    searched = " ".join(shorten_keys(list(space)).values())
    params = {f"space.{key.lstrip('+')}": values for key, values in space.items()}
    options = {key: value for key, value in search.items() if key != "space"}
    from src.tracking.run_record import RunRecord

    return RunRecord(
        store=store,
        name=build_run_name(f"{name} {searched} ({kind})", shown),
        kind="search",
        params={**params, "search": options},
        tags=tags,
        config_yaml=config_yaml,
        resume=resume,
    )


class SweepReporter:
    """Keeps metrics, plots, table, page and note of a sweep's run up to date.

    Args:
        record: the sweep's run, already entered.
        resume_command: goes on with the sweep.
    """

    def __init__(
        self,
        record: "RunRecord",
        *,
        store: "Store",
        study: "SweepStudy",
        search: "Search",
        space: "SearchSpace",
        resume_command: str,
    ) -> None:
        self.record = record
        self._store = store
        self._study = study
        self._search = search
        self._space = space
        self._resume_command = resume_command
        self._started_at = self._seconds_stored_at = time.monotonic()
        self._previous_seconds = float(study.attributes.get("seconds", 0.0))
        self._next_report_at = 0.0
        self._reported_state: object = None
        self._logged_trials: set[int] = set()
        # of the settings' means that were logged last
        self._summarized_trials = 0
        self._best_run_ids: set[str] | None = None
        self._has_warned = False
        self._report_thread: threading.Thread | None = None

    @property
    def active_seconds(self) -> float:
        """Wall time in which this sweep has been worked at, over all processes."""
        return self._previous_seconds + time.monotonic() - self._started_at

    def update_report(
        self,
        trials: Sequence[TrialRecord],
        *,
        state: str,
        reason: str | None = None,
        is_final: bool = False,
    ) -> None:
        """Log metrics of newly ended trials, and now and then write the report in a thread.

        Args:
            state: of the sweep, as MLflow names it.
            reason: why the sweep has ended.
            is_final: wait until the report is written.
        """
        now = time.monotonic()
        if now - self._seconds_stored_at > _STORE_SECONDS or is_final:
            self._study.set_attribute("seconds", self.active_seconds)
            self._seconds_stored_at = now
        self._log_metrics(trials)
        thread = self._report_thread
        if is_final and thread is not None:
            thread.join()
        shown = (state, [(t.number, t.state, len(t.intermediate_values)) for t in trials])
        if shown == self._reported_state:
            return
        if is_final:
            self._try_write_report(trials, state, reason)
        elif (
            now >= self._next_report_at
            and any(trial.intermediate_values or trial.ended_at for trial in trials)
            and not (thread is not None and thread.is_alive())
        ):
            # beside the sweep's loop, so that the next trial does not wait for plots
            self._report_thread = threading.Thread(
                target=self._try_write_report,
                args=(trials, state, reason),
                name="report",
                daemon=True,
            )
            self._report_thread.start()
        else:
            return
        self._reported_state = shown

    def _log_metrics(self, trials: Sequence[TrialRecord]) -> None:
        """Log values of finished trials and the best so far, in the order in which they ended."""
        ended = sorted(
            (trial for trial in trials if trial.state == "finished" and trial.values),
            key=lambda trial: trial.ended_at or 0,
        )
        for count, trial in enumerate(ended, start=1):
            if trial.number in self._logged_trials:
                continue
            self._logged_trials.add(trial.number)
            metrics: dict[str, float] = {"search/trial": trial.number}
            for index, monitor in enumerate(self._search.monitors):
                values = [other.values[index] for other in ended[:count] if other.values]
                metrics[f"trial/{monitor}"] = values[-1]
                choose = min if self._search.modes[index] == "min" else max
                metrics[f"best/{monitor}"] = choose(values)
            self.record.log_metrics(metrics, step=count)

    def _try_write_report(
        self, trials: Sequence[TrialRecord], state: str, reason: str | None
    ) -> None:
        started_at = time.monotonic()
        try:
            self._write_report(trials, state, reason)
        except Exception as error:
            # trials go on, whether drawing has failed or the store does not answer
            if not self._has_warned:
                print_line(
                    f"search: the report cannot be written now ({describe_error(error)})",
                    to_stderr=True,
                )
            self._has_warned = True
        ended_at = time.monotonic()
        self._next_report_at = ended_at + max(
            self._search.report_seconds, (ended_at - started_at) / _MAX_TIME_SHARE
        )

    def _write_report(self, trials: Sequence[TrialRecord], state: str, reason: str | None) -> None:
        # matplotlib takes half a second to import
        from src.search.view import html_report, plots

        run_ids = {trial.number: trial.attributes.get("run_id") for trial in trials}
        test_metric = self._search.monitors[0].replace("val/", "test/", 1)
        sweep = SweepSnapshot(
            sweep=self._study.name,
            name=self.record.name,
            state=state,  # type: ignore[arg-type]
            rows=list(trials),
            keys=self._space.keys,
            monitors=self._search.monitors,
            modes=self._search.modes,
            command=str(self._study.attributes.get("command", "")),
            resume_command=None if state == "FINISHED" else self._resume_command,
            reason=reason,
            limits=measure_budget(self._search, self._space, trials, self.active_seconds),
            run_url=self._build_run_url(self._study.name),
            trial_urls={n: self._build_run_url(str(id_)) for n, id_ in run_ids.items() if id_},
            test_metric=test_metric,
            test_values=self._read_test_values(test_metric, run_ids),
            taken_at=time.time(),
        )
        figures = plots.plot_sweep(
            sweep,
            log_keys={dimension.key for dimension in self._space.dimensions if dimension.log},
            importance=self._study.compute_importance(),
        )
        pictures = {name: plots.render_png(figure) for name, figure in figures.items()}
        for name, picture in pictures.items():
            self.record.log_bytes(picture, f"report/{name}.png")
        page = html_report.render_page(sweep, pictures)
        # its texts have been redacted where they were recorded
        self.record.log_text(page, "report/sweep.html", redact=str)
        columns = html_report.build_trial_columns(
            trials, keys=self._space.keys, monitors=self._search.monitors
        )
        self.record.log_table(columns, "report/trials.json")
        settings = group_replicates(sweep)
        if (best := select_best_setting(settings, sweep)) is not None:
            self.record.log_table(build_setting_columns(settings, sweep), "report/settings.json")
            finished = sum(len(setting.trials) for setting in settings)
            if finished > self._summarized_trials:
                self._summarized_trials = finished
                self.record.log_metrics(flatten_metrics(best.metrics), step=finished)
        self.record.set_tag("mlflow.note.content", html_report.render_note(sweep))
        self._tag_best_trials(self._study.load_best_trials())

    def _build_run_url(self, run_id: str) -> str:
        """The page of a run; without a server, its path below the address of a UI."""
        path = self._store.open().build_ui_link(run_id)
        if not self._store.tracking_uri.startswith("http"):
            return path
        return f"{self._store.tracking_uri.rstrip('/')}/{path}"

    def _read_test_values(self, metric: str, run_ids: Mapping[int, str | None]) -> dict[int, float]:
        """By trial, what its run measured on the test split; nothing where the sweep goes by it."""
        if metric in self._search.monitors:
            return {}
        runs = self._store.search_runs(f"tags.`mlflow.parentRunId` = '{self._study.name}'")
        values = {run.id: run.metrics[metric] for run in runs if metric in run.metrics}
        return {
            number: values[run_id]
            for number, run_id in run_ids.items()
            if run_id is not None and run_id in values
        }

    def _tag_best_trials(self, best: Sequence[TrialRecord]) -> None:
        """Name the best trials in tags of the sweep's run and of the trials' own runs."""
        run_ids = {str(t.attributes["run_id"]) for t in best if t.attributes.get("run_id")}
        if self._best_run_ids is None:
            # tags that an earlier process has set
            where = (
                f"tags.`{_BEST_TRIAL_TAG}` = 'true' AND tags.`mlflow.parentRunId` = "
                f"'{self._study.name}'"
            )
            self._best_run_ids = {run.id for run in self._store.search_runs(where)}
        for run_id in self._best_run_ids - run_ids:
            self._store.open().client.set_tag(run_id, _BEST_TRIAL_TAG, "false")
        for run_id in run_ids - self._best_run_ids:
            self._store.open().client.set_tag(run_id, _BEST_TRIAL_TAG, "true")
        self._best_run_ids = run_ids
        if best:
            numbers = " ".join(str(trial.number) for trial in best)
            self.record.set_tag("search.best_trial", numbers)
            self.record.set_tag("search.best_run_id", " ".join(sorted(run_ids)))
