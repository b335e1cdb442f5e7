import { sessionStore, signOut } from '../data/session';
import { Button } from '../ui/button';
import { Dialog } from '../ui/dialog';
import { KeyForm } from './key-form';

/** Above the page, which stays as it is: what was typed there is still there afterwards. */
export default function SessionOver() {
  const leave = () => {
    void signOut().catch(() => sessionStore.set(() => ({ state: 'out' })));
  };
  return (
    <Dialog
      open
      urgent
      onClose={() => {}}
      title="Your session has ended"
      footer={<Button onClick={leave}>Sign out</Button>}
    >
      <p>Sign in again to continue where you left off. Nothing on this page is lost.</p>
      <KeyForm action="Continue" />
    </Dialog>
  );
}
