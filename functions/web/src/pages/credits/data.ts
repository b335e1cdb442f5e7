import { queryOptions } from '@tanstack/react-query';
import { api, unwrap } from '../../api/client';
import { ApiError, fromResponse } from '../../api/errors';
import type { SchemaCharge, SchemaUsage } from '../../api/openapi.gen';
import { every } from '../../data/client';
import { type BillFilters, bounds, historyQuery } from './filters';
import { RANGES, type Range, startOf } from './points';

export const seriesOptions = (range: Range, now: number) => {
  const from = startOf(range, now);
  const { step } = RANGES[range];
  return queryOptions({
    queryKey: ['credit-series', step, from],
    queryFn: async ({ signal }) =>
      (await unwrap(api.GET('/api/v1/credits/series', { params: { query: { from, step } }, signal }))).data,
    refetchInterval: every(60_000),
  });
};

export async function askHistory(filters: BillFilters, cursor: string | undefined, signal: AbortSignal) {
  const query = { ...historyQuery(filters), ...(cursor === undefined ? {} : { cursor }) };
  return unwrap(api.GET('/api/v1/credits/transactions', { params: { query }, signal }));
}

export type Lines = {
  readonly lines: readonly SchemaCharge[];
  readonly sum: number | undefined;
  readonly more: boolean;
};

export const chargesOptions = (transactionId: string, pages: number) =>
  queryOptions({
    queryKey: ['charges-of', transactionId, pages],
    // Charges of an entry never change.
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async ({ signal }): Promise<Lines> => {
      const lines: SchemaCharge[] = [];
      let sum: number | undefined;
      let cursor: string | undefined;
      for (let page = 0; page < pages; page += 1) {
        const answer = await unwrap(
          api.GET('/api/v1/credits/transactions/{transactionId}/charges', {
            params: { path: { transactionId }, query: cursor === undefined ? {} : { cursor } },
            signal,
          }),
        );
        lines.push(...answer.data.lines);
        sum = answer.data.sum;
        cursor = answer.nextCursor;
        if (cursor === undefined) break;
      }
      return { lines, sum, more: cursor !== undefined };
    },
  });

export type UsageGroup = 'agent' | 'day';

/** All of a period, or its first 5,000 rows. */
export const usageOptions = (group: UsageGroup, filters: BillFilters) =>
  queryOptions({
    queryKey: ['usage', group, filters.from, filters.to, filters.agent],
    queryFn: async ({ signal }) => {
      const rows: SchemaUsage[] = [];
      let cursor: string | undefined;
      for (let page = 0; page < 5; page += 1) {
        const query = {
          group,
          ...bounds(filters),
          ...(filters.agent ? { agentId: filters.agent } : {}),
          ...(cursor === undefined ? {} : { cursor }),
        };
        const answer = await unwrap(api.GET('/api/v1/credits/usage', { params: { query }, signal }));
        rows.push(...answer.data);
        cursor = answer.nextCursor;
        if (cursor === undefined) break;
      }
      return { rows, more: cursor !== undefined };
    },
    refetchInterval: every(60_000),
  });

const next = (link: string | null): string | null => /<([^>]+)>;\s*rel="next"/.exec(link ?? '')?.[1] ?? null;

/** The list as a file. The server answers in parts; each begins with the head line, which only the first one keeps. */
export async function downloadCsv(path: string, query: Readonly<Record<string, unknown>>, name: string): Promise<void> {
  const parameters = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (key !== 'limit') parameters.set(key, String(value));
  let url: string | null = `${path}?${parameters}`;
  const parts: string[] = [];
  while (url !== null) {
    const response: Response = await fetch(url, { headers: { Accept: 'text/csv' } }).catch(() => {
      throw new ApiError({ kind: 'network', message: 'The server cannot be reached.' });
    });
    const text = await response.text();
    if (!response.ok) throw fromResponse(response, parsed(text));
    if (!response.headers.get('content-type')?.includes('csv'))
      throw new ApiError({ kind: 'foreign', message: 'The answer is not a CSV file.' });
    parts.push(parts.length === 0 ? text : text.slice(text.indexOf('\n') + 1));
    url = next(response.headers.get('link'));
  }
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob(parts, { type: 'text/csv' }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
