/** The query keys that more than one folder uses. Keys hold identifiers, never names. */
export const keys = {
  session: ['session'],
  config: ['config'],
  credit: ['credit'],
  settings: ['settings'],
  agents: ['agents'],
  agent: (id: string) => ['agent', id],
  agentJobs: (id: string) => ['agent', id, 'jobs'],
  backups: (id: string) => ['agent', id, 'backups'],
  charges: (id: string) => ['agent', id, 'charges'],
  logs: (id: string) => ['agent', id, 'logs'],
  job: (id: string) => ['job', id],
} as const satisfies Record<string, readonly string[] | ((...args: string[]) => readonly string[])>;

export type Key = readonly unknown[];
