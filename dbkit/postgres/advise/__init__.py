"""Index advice: from statements to indexes that the planner would use, each tried before it is proposed."""
