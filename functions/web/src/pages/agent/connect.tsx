import { useMutation } from '@tanstack/react-query';
import { ExternalLink } from 'lucide-react';
import { api, unwrap } from '../../api/client';
import { useWhyNot } from '../../data/session';
import { possible } from '../../data/shown';
import { Button, ButtonLink } from '../../ui/button';
import { Copy } from '../../ui/copy';
import { Refusal } from '../../ui/refusal';
import { Block, Note } from '../../ui/states';
import { Status } from '../../ui/status';
import css from './connect.module.css';
import type { TabProps } from './page';
import { Talk } from './talk';

export default function Connect({ agent, view }: TabProps) {
  const running = possible(agent, view.doing).open;
  const unopened = useWhyNot('open');
  if (!running)
    return (
      <Note title="It can be reached only while it runs">
        <p>Start it, and open it or talk to it here.</p>
      </Note>
    );
  return (
    <div className={css.connect}>
      <Block title="Open it">
        <p className={css.line}>
          <ButtonLink
            look="primary"
            blocked={unopened}
            href={`/agents/${agent.id}/open`}
            target="_blank"
            rel="noopener"
          >
            Open in a new tab <ExternalLink size={14} aria-hidden="true" />
          </ButtonLink>
          <span className="muted">signs you in with a token that is valid once, for 60 seconds</span>
        </p>
        {agent.bridgeUrl ? (
          <p className={css.line}>
            <span className="muted">Address</span> <code className={css.address}>{agent.bridgeUrl}</code>
            <Copy text={agent.bridgeUrl} label="Copy the address" />
          </p>
        ) : (
          <p className="muted">It has no public address.</p>
        )}
      </Block>
      <Ask id={agent.id} />
      <Talk id={agent.id} />
    </div>
  );
}

type Answer = { readonly ms: number; readonly result: unknown; readonly error: string | null };

function Ask({ id }: { id: string }) {
  const blocked = useWhyNot('ask');
  const ask = useMutation({
    mutationFn: async (): Promise<Answer> => {
      const began = performance.now();
      const answer = await unwrap(
        api.POST('/api/v1/milady/agents/{agentId}/bridge', {
          params: { path: { agentId: id } },
          body: { jsonrpc: '2.0', id: 1, method: 'status.get', params: {} },
        }),
      );
      const error = answer.error ? String(answer.error.message ?? 'The agent answered with an error.') : null;
      return { ms: Math.round(performance.now() - began), result: answer.result ?? null, error };
    },
  });
  return (
    <Block
      title="Ask whether it answers"
      actions={
        <Button small busy={ask.isPending} blocked={blocked} onClick={() => ask.mutate()}>
          {ask.isPending ? 'Asking…' : 'Ask the agent'}
        </Button>
      }
    >
      {ask.error ? <Refusal error={ask.error} title="Not asked" /> : null}
      {ask.data ? (
        <div className="stack" role="status">
          {ask.data.error === null ? (
            <Status tone="ok" note="through the control plane and its host">
              It answered within {ask.data.ms} ms
            </Status>
          ) : (
            <Status tone="bad" note={ask.data.error}>
              It did not answer
            </Status>
          )}
          {ask.data.error === null ? <pre className={css.pre}>{JSON.stringify(ask.data.result, null, 2)}</pre> : null}
        </div>
      ) : ask.error ? null : (
        <p className="muted">Sends status.get over the bridge and shows the answer and how long it took.</p>
      )}
    </Block>
  );
}
