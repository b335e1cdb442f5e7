import { useQuery } from '@tanstack/react-query';
import { useEffect } from 'react';
import { api, unwrap } from '../../api/client';
import { Button, ButtonLink } from '../../ui/button';
import { Page } from '../../ui/page';
import { Refusal } from '../../ui/refusal';
import { Absent } from '../../ui/states';
import { Status } from '../../ui/status';
import type { PageProps } from '..';

/**
 * A tab of its own that asks for a token and replaces itself by the agent's page: no pop-up to block, no window that the
 * agent's page could reach back to, and no token in the history.
 */
export default function OpenAgent({ params }: PageProps) {
  const id = params.id ?? '';
  const query = useQuery({
    queryKey: ['pairing', id],
    queryFn: async ({ signal }) =>
      (
        await unwrap(
          api.POST('/api/v1/milady/agents/{agentId}/pairing-token', { params: { path: { agentId: id } }, signal }),
        )
      ).data.redirectUrl,
    gcTime: 0,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
    refetchOnWindowFocus: false,
    refetchOnReconnect: false,
  });
  const { data: url } = query;
  const safe = url !== undefined && /^https?:\/\//.test(url);
  useEffect(() => {
    if (safe) location.replace(url);
  }, [safe, url]);
  return (
    <Page title="Opening the agent">
      {query.error ? (
        <>
          <Refusal error={query.error} title="Not opened" />
          <div className="row">
            <Button onClick={() => void query.refetch()}>Try again</Button>
            <ButtonLink href={`/agents/${id}`}>To the agent</ButtonLink>
          </div>
        </>
      ) : query.fetchStatus === 'paused' ? (
        <Absent query={query} />
      ) : (
        <p role="status">
          <Status tone="busy" note="This tab goes there by itself.">
            Signing you in
          </Status>
        </p>
      )}
    </Page>
  );
}
