import { queryOptions } from '@tanstack/react-query';
import { api, unwrap } from '../api/client';
import { keys } from '../api/keys';
import { client } from './client';
import { refresh } from './refresh';
import { signedIn } from './session';

/** Follows a job until the server says that it has ended; then everything that it changed is asked for again. */
export const jobOptions = (jobId: string, agentId: string) =>
  queryOptions({
    queryKey: keys.job(jobId),
    queryFn: async ({ signal }) => {
      const answer = await unwrap(api.GET('/api/v1/jobs/{jobId}', { params: { path: { jobId } }, signal }));
      if (!answer.polling.shouldContinue) {
        refresh(client, [
          keys.agents,
          keys.agent(agentId),
          keys.agentJobs(agentId),
          keys.backups(agentId),
          keys.credit,
        ]);
      }
      return answer;
    },
    staleTime: (query) => (query.state.data?.polling.shouldContinue === false ? Number.POSITIVE_INFINITY : 0),
    refetchInterval: (query) => {
      const polling = query.state.data?.polling;
      if (!signedIn() || query.state.status === 'error' || polling?.shouldContinue === false) return false;
      return polling?.shouldContinue ? polling.intervalMs : 1_000;
    },
  });
