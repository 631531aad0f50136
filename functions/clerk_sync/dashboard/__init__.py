"""The CloudWatch dashboard's widgets: templates, style sheet, and the users they show."""
