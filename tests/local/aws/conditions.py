"""Parameters that make every condition of template.yaml true, or false, whatever else is deployed."""

ALL_ON = {
    "ExistingUsersTable": "",
    "FullSyncSchedule": "cron(0 2 ? * SUN *)",
    "IncrementalSyncSchedule": "cron(0 0 * * ? *)",
    "AuditSchedule": "cron(0 4 ? * SUN *)",
    "ClerkIssuer": "https://clerk.example.org",
    "ClerkAuthorizedParties": "https://app.example.org",
    "WebhookIpRanges": "127.0.0.0/8,203.0.113.0/24",
    "AccessLogs": "true",
    "AlertEmail": "alerts@example.org",
}
ALL_OFF = {
    "ExistingUsersTable": "people",
    "FullSyncSchedule": "never",
    "IncrementalSyncSchedule": "never",
    "AuditSchedule": "never",
    "ClerkIssuer": "",
    "ClerkAuthorizedParties": "",
    "WebhookIpRanges": "",
    "AccessLogs": "false",
    "AlertEmail": "",
}
