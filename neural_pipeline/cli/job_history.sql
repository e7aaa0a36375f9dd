-- All failed neural workflows in last 24 hours
SELECT id, inngest_function_id, name, error_message, created_at
FROM lightfast_workspace_workflow_runs
WHERE status = 'failed'
AND inngest_function_id LIKE 'neural.%'
AND created_at > NOW() - INTERVAL '24 hours';

-- Observation capture job history for a workspace
SELECT id, status, duration_ms, created_at, output
FROM lightfast_workspace_workflow_runs
WHERE workspace_id = 'ws_xxx'
AND inngest_function_id = 'neural.observation.capture'
ORDER BY created_at DESC
LIMIT 50;

-- Average duration by workflow type
SELECT inngest_function_id, AVG(duration_ms::int) as avg_duration
FROM lightfast_workspace_workflow_runs
WHERE inngest_function_id LIKE 'neural.%'
AND status = 'completed'
GROUP BY inngest_function_id;
