import { useSettings } from '../data/settings';
import { Link } from '../ui/link';
import { Status } from '../ui/status';
import { Moment } from '../ui/time';
import css from './notices.module.css';

/** Mails of the organization reach nobody: its owner can only learn it here. */
export default function Undeliverable() {
  const since = useSettings().data?.undeliverableSince ?? null;
  if (since === null) return null;
  return (
    <p className={css.notice}>
      <Status
        tone="bad"
        note={
          <>
            Every address of your organization is missing or takes no mails, so nobody is warned before agents are shut
            down. <Link href="/settings">Set a billing address in the settings</Link>. This notice stays until a mail
            can be handed over.
          </>
        }
      >
        Our mails have reached nobody since <Moment at={since} />.
      </Status>
    </p>
  );
}
