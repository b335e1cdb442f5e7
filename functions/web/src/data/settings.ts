import { queryOptions, useQuery } from '@tanstack/react-query';
import { api, unwrap } from '../api/client';
import { keys } from '../api/keys';
import { client, every } from './client';

/** Every page of an owner asks for it, so it is asked for seldom. */
export const settingsOptions = queryOptions({
  queryKey: keys.settings,
  queryFn: async ({ signal }) => (await unwrap(api.GET('/api/v1/settings', { signal }))).data,
  refetchInterval: every(5 * 60_000),
});

export const useSettings = () => useQuery(settingsOptions, client);
