"""Profiles of actors, each counted from the observations that are stored: written set-wise, read without merged ones.

A profile that was merged stays as a record of that, with count 0; the profile that `merged_into` names counts its
person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

from sqlalchemy import Connection, RowMapping

from neural_pipeline.contracts.memory import ActorKey, ActorNews, KeptProfile
from neural_pipeline.store.identities import Identity, keep_identities, point_to_accounts
from neural_pipeline.store.sql import record_set, rows

CONFIDENCE = 0.5
"""The spec's; how sure it is who an actor is, the identity says."""


class Told(NamedTuple):
    """What an identity knows of an actor."""

    name: str | None
    email: str | None


def _named_by_id(actor_id: str) -> str:
    """SQL for the name of an actor of whom only the id is known: what follows the source."""
    return f"left(coalesce(nullif(substr({actor_id}, strpos({actor_id}, ':') + 1), ''), {actor_id}), 255)"


_KNOWN = """
select g.clerk_org_id, g.actor_id, min(i.source_username) as name, min(i.source_email) as email
from jsonb_to_recordset(cast(:actors as jsonb)) as g(workspace_id text, clerk_org_id text, actor_id text)
left join lightfast_org_actor_identities i on i.clerk_org_id = g.clerk_org_id
  and i.source = split_part(g.actor_id, ':', 1) and i.source_id = substr(g.actor_id, strpos(g.actor_id, ':') + 1)
where i.id is not null
  or exists (select from lightfast_workspace_actor_profiles p
    where p.workspace_id = g.workspace_id and p.actor_id = g.actor_id)
  or exists (select from lightfast_workspace_neural_observations o
    where o.workspace_id = g.workspace_id and o.canonical_actor_id = g.actor_id)
group by g.clerk_org_id, g.actor_id
"""
"""The actors of whom there is anything, and what their identities know: what superseded requests knew is there."""

_COUNTED = """
with given as (
  select * from jsonb_to_recordset(cast(:actors as jsonb)) as r(workspace_id text, actor_id text, name text, email text,
    merged_into text)
), counted as (
  select g.workspace_id, g.actor_id, g.merged_into, o.observations, o.last_active_at, p.id is not null as is_known,
    left(g.name, 255) as name, left(g.email, 255) as email
  from given g
  left join lightfast_workspace_actor_profiles p on p.workspace_id = g.workspace_id and p.actor_id = g.actor_id
  cross join lateral (
    select count(*)::integer as observations, max(o.occurred_at) as last_active_at
    from lightfast_workspace_neural_observations o
    where o.workspace_id = g.workspace_id and o.canonical_actor_id = g.actor_id
  ) o
  where p.id is not null or o.observations > 0
)
"""

_KEEP = f"""
{_COUNTED}, kept as (
  insert into lightfast_workspace_actor_profiles as p (workspace_id, actor_id, display_name, email, observation_count,
    last_active_at, profile_confidence, merged_into)
  select workspace_id, actor_id, coalesce(name, {_named_by_id("actor_id")}), email, observations, last_active_at,
    :confidence, case when observations = 0 then merged_into end
  from counted order by workspace_id, actor_id
  on conflict (workspace_id, actor_id) do update
  set display_name = case p.display_name when {_named_by_id("p.actor_id")} then excluded.display_name
      else p.display_name end,
    email = coalesce(p.email, excluded.email), observation_count = excluded.observation_count,
    last_active_at = coalesce(excluded.last_active_at, p.last_active_at), updated_at = clock_timestamp(),
    merged_into = case when excluded.observation_count = 0 then coalesce(excluded.merged_into, p.merged_into) end
  returning workspace_id, actor_id, observation_count, merged_into
)
select k.*, not c.is_known as is_new from kept k join counted c using (workspace_id, actor_id)
"""  # noqa: S608 - made of constants


def keep_profiles(connection: Connection, news: Sequence[ActorNews]) -> dict[ActorKey, KeptProfile]:
    """Count the observations of the actors there is news of, and write profiles and identities; return the profiles.

    Name and e-mail stay as they are once known; a name that was only the end of the id gives way to a real one, and is
    told by being equal to it. An actor without observations gets no profile, and one that has lost them keeps his,
    with count 0: merged if an account is known to stand behind him. Who acts again under his old id lives again.
    """
    found = rows(connection, _KNOWN, actors=record_set(map(asdict, news)))
    known = {(row["clerk_org_id"], row["actor_id"]): Told(row["name"], row["email"]) for row in found}
    keep_identities(connection, [_identity(one) for one in news if (one.clerk_org_id, one.actor_id) in known])
    # Before the profiles are written: what they were merged into so far may contradict the news.
    pairs = [(one.clerk_org_id, one.actor_id, one.merged_into) for one in news if one.merged_into]
    point_to_accounts(connection, pairs)
    actors = record_set(map(asdict, _by_actor(news, known).values()))
    return {
        (row["workspace_id"], row["actor_id"]): KeptProfile(row["observation_count"], row["is_new"], row["merged_into"])
        for row in rows(connection, _KEEP, actors=actors, confidence=CONFIDENCE)
    }


def _by_actor(news: Sequence[ActorNews], known: Mapping[tuple[str, str], Told]) -> dict[ActorKey, ActorNews]:
    """Return the news of each actor as one, named as if they came one by one, each followed by its identity.

    A profile keeps the first name and e-mail that the news, or else the identity by then, can tell.
    """
    latest, merged = dict(known), dict[ActorKey, ActorNews]()
    for one in news:
        by_then = latest.get((one.clerk_org_id, one.actor_id), Told(None, None))
        first = merged.get((one.workspace_id, one.actor_id), replace(one, name=None, email=None))
        merged[one.workspace_id, one.actor_id] = replace(
            first,
            name=first.name or _name(one.name, one.actor_id) or _name(by_then.name, one.actor_id),
            email=first.email or _text(one.email) or _text(by_then.email),
            merged_into=one.merged_into or first.merged_into,
        )
        told = Told(_text(one.name) or by_then.name, _text(one.email) or by_then.email)
        latest[one.clerk_org_id, one.actor_id] = told
    return merged


def _name(told: str | None, actor_id: str) -> str | None:
    """Return a name that tells more than the id does."""
    name = _text(told)
    return None if name == (actor_id.partition(":")[2] or actor_id) else name


def _text(told: str | None) -> str | None:
    return (told.strip() or None) if told else None


def profiles_of(connection: Connection, *, workspace_id: str) -> Sequence[RowMapping]:
    """Return the profiles of a workspace, each person once, the most recently active first."""
    sql = """
    select external_id, actor_id, display_name, email, observation_count, last_active_at
    from lightfast_workspace_actor_profiles
    where workspace_id = :workspace_id and merged_into is null
    order by last_active_at desc nulls last, id
    """
    return rows(connection, sql, workspace_id=workspace_id)


def profile_of(connection: Connection, *, workspace_id: str, actor_id: str) -> RowMapping | None:
    """Return the profile that counts an actor's person: that of the account he was merged into, if he was."""
    sql = """
    select coalesce(m.external_id, p.external_id) as external_id, coalesce(m.actor_id, p.actor_id) as actor_id,
      coalesce(m.display_name, p.display_name) as display_name, coalesce(m.email, p.email) as email,
      coalesce(m.observation_count, p.observation_count) as observation_count,
      coalesce(m.last_active_at, p.last_active_at) as last_active_at
    from lightfast_workspace_actor_profiles p
    left join lightfast_workspace_actor_profiles m on m.workspace_id = p.workspace_id and m.actor_id = p.merged_into
    where p.workspace_id = :workspace_id and p.actor_id = :actor_id
    """
    return next(iter(rows(connection, sql, workspace_id=workspace_id, actor_id=actor_id)), None)


def _identity(one: ActorNews) -> Identity:
    """What is known of the actor already, how it was found included, is not changed by this (D-32)."""
    source, _, source_id = one.actor_id.partition(":")
    return Identity(
        clerk_org_id=one.clerk_org_id,
        canonical_id=one.actor_id,
        source=source,
        source_id=source_id,
        username=one.name,
        email=one.email,
        avatar_url=one.avatar_url,
        method="webhook",
    )
