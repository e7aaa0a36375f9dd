"""The workflow `llm_entity_extraction`: entities that patterns cannot see, found in the text of observations."""
