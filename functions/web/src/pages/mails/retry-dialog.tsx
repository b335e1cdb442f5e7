import type { Mail } from '../../api/operations';
import { retryMail } from '../../api/operators';
import { useNow } from '../../data/clock';
import { useOperation } from '../../data/operation';
import { toast } from '../../data/toasts';
import { Confirm } from '../../ui/dialog';
import { retryEffects, templateWord } from './words';

/** Says what sending a mail again will do before it is asked for. */
export function RetryDialog({ mail, onClose }: { mail: Mail; onClose: () => void }) {
  const now = useNow(60);
  const retry = useOperation(retryMail, {
    touches: [['mails'], ['audit']],
    onDone: (due) => {
      toast({ tone: 'ok', text: `The mail is sent to ${due.recipient ?? 'the next address'} within a minute.` });
      onClose();
    },
  });
  return (
    <Confirm
      open
      title={`Send again: ${templateWord(mail.template)}`}
      action={retry.busy ? 'Working…' : 'Send again'}
      danger={false}
      busy={retry.busy}
      error={retry.error}
      onClose={onClose}
      onConfirm={() => retry.run(mail.id)}
    >
      {retryEffects(mail, now).map((effect) => (
        <p key={effect}>{effect}</p>
      ))}
      <p className="muted">Written to the audit log as you.</p>
    </Confirm>
  );
}
