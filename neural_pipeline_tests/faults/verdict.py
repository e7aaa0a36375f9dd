"""What is left after a fault: events lost, things doubled, things stuck. All figures are to be 0."""

import threading
from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy.exc import DBAPIError

from neural_pipeline_tests.faults.events import Ends
from neural_pipeline_tests.faults.site import Site

CAPTURE = "neural.observation.capture"
EXTRA_ATTEMPTS = 3


@dataclass(frozen=True)
class Verdict:
    """The figures, and the first few findings in words."""

    lost: int
    doubled: int
    stuck: int
    findings: list[str]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found."""
        return not self.lost + self.doubled + self.stuck


@dataclass
class Witness:
    """Looks at the finished rows all the time, and remembers every one that changed afterwards."""

    site: Site
    changed: list[str] = field(default_factory=list[str])
    _seen: dict[int, str] = field(default_factory=dict[int, str])
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look a last time."""
        self._stopped.set()
        if self._thread:
            self._thread.join()
        self.look()

    def look(self) -> None:
        """Compare every finished row with what it was when it was first seen."""
        sql = """
        select id, status || md5(r::text) as content from lightfast_workspace_workflow_runs r
        where status in ('completed', 'failed', 'cancelled')
        """
        now = {row["id"]: row["content"] for row in self.site.rows(sql)}
        for id_, content in self._seen.items():
            if now.get(id_) != content:
                self.changed.append(f"finished row {id_} changed or went")
        self._seen |= now

    def _watch(self) -> None:
        while not self._stopped.wait(0.5):
            try:
                self.look()
            except DBAPIError:  # the server is down: that is what the scenario is about
                continue


def judge(site: Site, ends: Ends, witness: Witness, *, may_cancel: bool) -> Verdict:
    """Hold what is in the database against what must be there."""
    witness.stop()
    lost = _lost(site, ends, may_cancel=may_cancel)
    doubled = _doubled(site)
    stuck = _stuck(site) + witness.changed
    return Verdict(len(lost), len(doubled), len(stuck), (lost + doubled + stuck)[:10])


_ENDS = """
select r.workspace_id, r.input ->> 'sourceId' as source_id, r.status, r.attempt, r.cause, e.attempt as attempts,
  coalesce(r.output ->> 'reason', r.cause, r.output ->> 'status', r.status) as ending
from lightfast_workspace_workflow_runs r join incoming_events e on e.id = r.event_id
where r.inngest_function_id = 'neural.observation.capture'
"""


def _lost(site: Site, ends: Ends, *, may_cancel: bool) -> list[str]:
    rows = site.rows(_ENDS)
    found = Counter((row["workspace_id"], row["source_id"], row["ending"]) for row in rows)
    missing = ends - found
    cancelled = Counter({(row["workspace_id"], row["source_id"]): 0 for row in rows})
    cancelled.update((row["workspace_id"], row["source_id"]) for row in rows if row["status"] == "cancelled")
    problems = [f"{key} is missing" for key in missing.elements() if not (may_cancel and cancelled[key[:2]])]
    problems += [
        f"event {row['source_id']}: {row['attempt']} attempts" for row in rows if row["attempt"] > 1 + EXTRA_ATTEMPTS
    ]
    innocent = [row for row in rows if row["ending"] in {"success", "duplicate", "below_threshold"}]
    problems += [f"innocent {row['source_id']}: attempt {row['attempt']}" for row in innocent if row["attempt"] != 1]
    return problems


_TWICE = {
    "observations of a source id": """
      select workspace_id || ' ' || source_id as what from lightfast_workspace_neural_observations
      group by workspace_id, source_id having count(*) > 1""",
    "observations counted in a cluster": """
      select c.external_id as what from lightfast_workspace_observation_clusters c
      left join lightfast_workspace_neural_observations o on o.cluster_id = c.id
      group by c.id having c.observation_count <> count(o.id)""",
    "observations counted at an entity": """
      select n.key as what from lightfast_workspace_neural_entities n
      left join observation_entities l on l.entity_id = n.id
      group by n.id having n.occurrence_count <> count(l.observation_id)""",
    "vectors of an observation": """
      select o.external_id as what from lightfast_workspace_neural_observations o
      left join (select * from observation_vectors union all select * from indexed_vectors) v
        on v.observation_id = o.id
      group by o.id having count(v.view) <> 3""",
    "rows of an execution": """
      select event_id::text as what from lightfast_workspace_workflow_runs group by event_id having count(*) > 1""",
    "durations of an execution": """
      select r.event_id::text as what from lightfast_workspace_workflow_runs r
      left join lightfast_workspace_operations_metrics m on m.event_id = r.event_id and m.type = 'job_duration'
      group by r.event_id, r.status
      having count(m.id) <> (r.status in ('completed', 'failed', 'cancelled'))::integer""",
    "errors of an execution": """
      select r.event_id::text as what from lightfast_workspace_workflow_runs r
      left join lightfast_workspace_operations_metrics m on m.event_id = r.event_id and m.type = 'errors'
        and m.tags ->> 'cause' = r.cause
      group by r.event_id, r.status having count(m.id) <> (r.status = 'failed')::integer""",
    "ends of a capture": """
      select e.id::text as what from incoming_events e
      left join lightfast_workspace_operations_metrics m on m.event_id = e.id and m.type = case
        when e.output ->> 'status' = 'success' then 'observation_captured'
        when e.output ->> 'reason' = 'event_not_allowed' then 'observation_filtered'
        else 'observation_' || (e.output ->> 'reason') end
      where e.function_id = 'neural.observation.capture' and e.outcome = 'completed'
      group by e.id having count(m.id) <> 1""",
    "observations counted in a profile": """
      select p.actor_id as what from lightfast_workspace_actor_profiles p
      left join lightfast_workspace_neural_observations o
        on (o.workspace_id, o.canonical_actor_id) = (p.workspace_id, p.actor_id)
      group by p.id having p.observation_count <> count(o.id)""",
    "children of an execution": """
      select parent_event_id::text as what from incoming_events where parent_event_id is not null
      group by parent_event_id, function_id having count(*) > 1""",
}


def _doubled(site: Site) -> list[str]:
    return [f"{name}: {row['what']}" for name, sql in _TWICE.items() for row in site.rows(sql)]


_STUCK = {
    "unfinished": """
      select id::text as what from lightfast_workspace_workflow_runs where status in ('queued', 'running')""",
    "actor without a profile": """
      select distinct canonical_actor_id as what from lightfast_workspace_neural_observations o
      where canonical_actor_id is not null and not exists (
        select from lightfast_workspace_actor_profiles p
        where (p.workspace_id, p.actor_id) = (o.workspace_id, o.canonical_actor_id))""",
    "cluster without a summary": """
      select external_id as what from lightfast_workspace_observation_clusters
      where observation_count >= 5 and summary is null""",
    "text that was not read": """
      select o.external_id as what from lightfast_workspace_neural_observations o
      where length(o.content) > 200 and not exists (
        select from lightfast_workspace_workflow_runs r
        where r.inngest_function_id = 'neural.llm-entity-extraction' and r.status = 'completed'
          and r.output ->> 'status' = 'success' and r.output ->> 'observationId' = o.external_id)""",
    "batch not closed": "select id::text as what from event_batches where state <> 'closed'",
    "workspace held": "select workspace_id as what from batch_workspaces where closed_at is null",
    "accounting": "select rule as what from event_accounting where unexplained <> 0",
    "failed without a reason": """
      select id::text as what from lightfast_workspace_workflow_runs
      where status = 'failed' and (error_message is null or cause is null or output ->> 'step' is null)""",
}


def _stuck(site: Site) -> list[str]:
    return [f"{name}: {row['what']}" for name, sql in _STUCK.items() for row in site.rows(sql)]
