-- Entities as they are now, by category; counted in an index, without a look at their rows.
select category, entities, round(100 * entities / sum(entities) over (), 2) as share
from (select category, count(*) as entities from lightfast_workspace_neural_entities group by 1) counted
