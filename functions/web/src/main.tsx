import './ui/tokens.css';
import './ui/base.css';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { confirmSession } from './data/session';
import { fetchTheRest } from './shell/idle';

/** A part that a deploy took away is said on the page. Everything else that the page shows instead is an error. */
function onCaughtError(error: unknown) {
  if (!String(error).includes('dynamically imported module')) console.error(error);
}

void confirmSession();
const root = document.getElementById('app');
if (root) {
  createRoot(root, { onCaughtError }).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
fetchTheRest();
