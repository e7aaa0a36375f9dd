"""What starts runs and watches them: inbox sensors, lifecycle sensors, the reconciler. States move in `store`."""
