import { queryOptions, useQuery } from '@tanstack/react-query';
import { api, unwrap } from '../api/client';
import { keys } from '../api/keys';
import { getConfig } from '../api/operations';
import { client, every } from './client';

export const creditOptions = queryOptions({
  queryKey: keys.credit,
  queryFn: async ({ signal }) => (await unwrap(api.GET('/api/v1/credits/balance', { signal }))).data,
  refetchInterval: every(60_000),
});

export const configOptions = queryOptions({ queryKey: keys.config, queryFn: getConfig, staleTime: 3_600_000 });

export const useCredit = () => useQuery(creditOptions, client);
export const useConfig = () => useQuery(configOptions, client);
