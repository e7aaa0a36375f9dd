"""What is counted, and the views that say it. Assets, checks and the report come later."""
