-- Workflow runs that were accepted in the last 24 hours and have failed.
select id, inngest_run_id as execution_id, inngest_function_id as function_id, name, workspace_id, error_message, cause,
  output ->> 'step' as step, attempt, dagster_run_id, created_at, completed_at
from lightfast_workspace_workflow_runs
where status = 'failed' and created_at > now() - interval '24 hours'
