import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { useSearchParams } from 'wouter';
import { keys } from '../../api/keys';
import { refresh } from '../../data/refresh';
import { Button } from '../../ui/button';
import { Dialog } from '../../ui/dialog';
import { CreateForm } from './create-form';
import { CreateProgress } from './create-progress';

/**
 * Creates an agent and shows how it starts. Agent and job are in the address, so a reload goes on with the same job; a
 * retry is another job and another address.
 */
export default function Create({ onClose }: { onClose: () => void }) {
  const [params, setParams] = useSearchParams();
  const [typed, setTyped] = useState(false);
  const [leaving, setLeaving] = useState(false);
  const client = useQueryClient();
  const agentId = params.get('agent');
  const jobId = params.get('job');
  useEffect(() => refresh(client, [keys.credit]), [client]);

  const put = (name: 'agent' | 'job', value: string) =>
    setParams(
      (old) => {
        const next = new URLSearchParams(old);
        next.set(name, value);
        return next;
      },
      { replace: true },
    );
  const close = () => (typed && !agentId ? setLeaving(true) : onClose());

  if (agentId)
    return (
      <Dialog open onClose={onClose} title="New agent">
        <CreateProgress
          key={agentId}
          agentId={agentId}
          jobId={jobId}
          onJob={(id) => put('job', id)}
          onClose={onClose}
        />
      </Dialog>
    );
  return (
    <Dialog open onClose={close} title="New agent">
      {leaving ? (
        <div className="row" role="alert">
          <span>Discard what you typed?</span>
          <Button small look="danger" onClick={onClose}>
            Discard
          </Button>
          <Button small onClick={() => setLeaving(false)}>
            Keep
          </Button>
        </div>
      ) : null}
      <CreateForm onTyped={setTyped} onCreated={(agent, started) => (started ? put('agent', agent.id) : onClose())} />
    </Dialog>
  );
}
