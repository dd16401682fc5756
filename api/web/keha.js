// The plain page: cameras live, their timelines, and playing from a moment. All it knows comes from the HTTP API.

const API = 'api/v1';
const CLIP_SECONDS = 600;

class Unknown extends Error {}

async function ask(path, options = {}) {
  const response = await fetch(`${API}/${path}`, options);
  if (response.status === 401) throw new Unknown((await response.json()).detail);
  if (!response.ok) throw new Error((await response.json()).detail);
  return response.status === 204 ? null : response.json();
}

// Live pictures: fragmented MP4 from a WebSocket into a SourceBuffer. Where the browser cannot play the codec, pictures one by one.
class Live {
  constructor(view) {
    this.view = view;
    this.queue = [];
    this.ended = false;
    this.connect();
  }

  connect() {
    const url = new URL(`${API}/cameras/${this.view.name}/streams/main/live`, document.baseURI);
    url.protocol = url.protocol.replace('http', 'ws');
    this.socket = new WebSocket(url);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onmessage = ({ data }) => {
      if (typeof data === 'string') this.told(JSON.parse(data));
      else if (this.media) { this.queue.push(data); this.append(); }
    };
    this.socket.onclose = () => { if (!this.ended && !this.stills) setTimeout(() => this.ended || this.connect(), 2000); };
  }

  told(message) {
    if (message.type === 'init') this.begin(message);
    if (message.type === 'waiting') this.view.note('nothing comes at present');
    if (message.type === 'skipped') this.view.note(`skipped ${message.samples} samples`);
    if (message.type === 'unplayable') this.pictures(message.reason);
  }

  begin(init) {
    // Some browsers know FLAC by another name than the registered one.
    const types = [init.codecs, init.codecs.replace('fLaC', 'flac')].map((codecs) => `video/mp4; codecs="${codecs}"`);
    const type = window.MediaSource && types.find((type) => MediaSource.isTypeSupported(type));
    if (!type) return this.pictures(`this browser plays no ${init.codecs}`);
    this.view.note('');
    this.queue = [];
    this.origin = init.axis_ms / 1000;
    this.media = new MediaSource();
    this.buffer = null;
    const media = this.media;
    media.onsourceopen = () => {
      if (media !== this.media || media.sourceBuffers.length) return;
      this.buffer = media.addSourceBuffer(type);
      this.buffer.timestampOffset = -this.origin;
      this.buffer.onupdateend = () => this.append();
      this.append();
    };
    this.view.video.src = URL.createObjectURL(media);
    this.view.video.play().catch(() => {});
  }

  append() {
    const { buffer, media } = this;
    if (!buffer || buffer.updating || media.readyState !== 'open') return;
    const video = this.view.video;
    if (buffer.buffered.length) {
      const [start, end] = [buffer.buffered.start(0), buffer.buffered.end(buffer.buffered.length - 1)];
      const behind = end - video.currentTime;
      if (video.currentTime < start || behind > 2) video.currentTime = Math.max(start, end - 0.1);
      // A little faster until it is close behind the camera.
      else video.playbackRate = behind > 0.4 ? 1.1 : 1;
      if (video.currentTime - start > 30) return buffer.remove(start, video.currentTime - 10);
    }
    if (this.queue.length) {
      try { buffer.appendBuffer(this.queue.shift()); } catch { this.stop(); this.view.goLive(); }
    }
  }

  pictures(why) {
    this.stills = true;
    this.socket.close();
    this.view.note(why ? `pictures one by one: ${why}` : '');
    const { still } = this.view;
    still.hidden = false;
    const next = () => { if (!this.ended) still.src = `${API}/cameras/${this.view.name}/streams/main/snapshot.jpg?width=640&at=now&t=${Date.now()}`; };
    still.onload = still.onerror = () => setTimeout(next, 1000);
    next();
  }

  // When the picture is that is shown, in milliseconds since 1970.
  moment() {
    return this.origin ? (this.view.video.currentTime + this.origin) * 1000 : null;
  }

  stop() {
    this.ended = true;
    this.socket.close();
    this.view.still.hidden = true;
  }
}

class View {
  constructor(camera) {
    this.name = camera.name;
    this.root = document.getElementById('camera').content.cloneNode(true).firstElementChild;
    const part = (selector) => this.root.querySelector(selector);
    [this.video, this.still, this.canvas, this.time, this.back] =
      ['video', 'img', 'canvas', 'time', '.live'].map(part);
    this.links = { mp4: part('.mp4'), mkv: part('.mkv'), still: part('.still') };
    part('.name').textContent = camera.name;
    this.canvas.onclick = (event) => this.play(this.from + (event.offsetX / this.canvas.clientWidth) * this.span);
    this.back.onclick = () => this.goLive();
    this.moved = part('.moved');
    part('.moved button').onclick = () => this.returnHome();
    this.steps = { backwards: part('.previous'), forwards: part('.next') };
    Object.entries(this.steps).forEach(([direction, button]) => { button.onclick = () => this.step(direction); });
    // What was stepped to is played on from there.
    this.still.onclick = () => this.stood && this.play(this.stood.at);
    this.update(camera);
    this.goLive();
  }

  update(camera) {
    const [main] = camera.streams;
    const rate = main.state === 'recording' ? ` ${(main.bits_per_second / 1e6).toFixed(1)} Mbit/s` : '';
    this.root.querySelector('.state').textContent = (main.reason ?? main.state) + rate;
    this.root.querySelector('.state').title = main.last_error ?? '';
    this.moved.hidden = !camera.moved;
    this.moved.querySelector('button').hidden = !Page.mayReturn;
    if (!camera.moved || this.refused) return;
    const { since, why } = camera.moved;
    this.moved.querySelector('span').textContent =
      `recorded on ${camera.volume} since ${new Date(since).toLocaleString()} because ${camera.home} failed: ${why}`;
  }

  // Records it on its own volume again, which had failed. It never returns by itself.
  async returnHome() {
    const [text, button] = ['span', 'button'].map((part) => this.moved.querySelector(part));
    button.disabled = true;
    try {
      await ask(`cameras/${this.name}/return`, { method: 'POST', headers: Page.forgery() });
      this.moved.hidden = true;
    } catch (error) {
      text.textContent = error.message;
      // It is there to be read before what is so is shown again.
      this.refused = true;
      setTimeout(() => { this.refused = false; }, 10000);
    } finally {
      button.disabled = false;
    }
  }

  note(text) {
    const note = this.root.querySelector('.note');
    note.textContent = text;
    note.hidden = !text;
  }

  goLive() {
    this.live?.stop();
    this.played = this.stood = null;
    this.video.onloadedmetadata = this.video.onerror = null;
    this.back.hidden = true;
    [...Object.values(this.links), ...Object.values(this.steps)].forEach((part) => { part.hidden = true; });
    this.video.controls = false;
    this.live = new Live(this);
  }

  // Plays what was recorded from a moment on, in milliseconds since 1970.
  async play(at) {
    this.live?.stop();
    this.live = null;
    this.stood = null;
    this.still.hidden = true;
    View.shown = this;
    this.video.playbackRate = 1;
    this.note('');
    const from = new Date(at).toISOString();
    const to = new Date(Math.min(at + CLIP_SECONDS * 1000, Date.now())).toISOString();
    const footage = `${API}/cameras/${this.name}/streams/main/footage?from=${from}&to=${to}`;
    const file = `${footage}&format=mp4&inline=true`;
    this.played = at;
    // Until the file says where it begins, the place in the last one means nothing.
    this.began = null;
    this.back.hidden = false;
    Object.values(this.steps).forEach((button) => { button.hidden = false; });
    const head = await fetch(file, { headers: { range: 'bytes=0-0' } });
    if (this.played !== at) return;
    if (!head.ok) return this.note((await head.json()).detail);
    // It begins with the keyframe at or before the moment.
    this.began = Date.parse(head.headers.get('x-keha-moment'));
    this.video.controls = true;
    this.video.onloadedmetadata = () => { this.video.currentTime = Math.max(0, (at - this.began) / 1000); };
    this.video.onerror = () => { if (this.played === at) this.note('this browser cannot play it: download it'); };
    this.video.src = file;
    this.video.play().catch(() => {});
    this.links.mp4.href = `${footage}&format=mp4`;
    this.links.mkv.href = `${footage}&format=mkv`;
    this.links.still.href = `${API}/cameras/${this.name}/streams/main/snapshot.jpg?at=${from}`;
    Object.values(this.links).forEach((link) => { link.hidden = false; });
  }

  // Shows the next keyframe that was recorded in a direction, still.
  async step(direction) {
    if (!this.played || this.stepping) return;
    this.stepping = true;
    const { played, stood } = this;
    const stream = `cameras/${this.name}/streams/main`;
    const begin = stood ? `after=${stood.mark}` : `at=${new Date(this.moment()).toISOString()}`;
    try {
      this.video.pause();
      const answer = await ask(`${stream}/pictures?step=keyframe&limit=1&direction=${direction}&${begin}`);
      if (this.played !== played || this.stood !== stood) return;
      const [picture] = answer.pictures;
      if (!picture) return this.note('nothing more is recorded that way');
      this.stood = { mark: picture.mark, at: Date.parse(picture.at) };
      this.note(picture.discontinuity ? `between: ${picture.discontinuity}` : '');
      this.links.still.href = `${API}/${stream}/snapshot.jpg?at=${picture.at}`;
      this.still.src = `${this.links.still.href}&width=1280`;
      this.still.hidden = false;
    } catch (error) {
      this.note(error.message);
    } finally {
      this.stepping = false;
    }
  }

  draw(timeline, from, span) {
    [this.from, this.span, this.timeline] = [from, span, timeline];
    const { canvas } = this;
    canvas.width = canvas.clientWidth * devicePixelRatio;
    canvas.height = canvas.clientHeight * devicePixelRatio;
    const pen = canvas.getContext('2d');
    const style = getComputedStyle(document.documentElement);
    const bar = (range, colour, top, height) => {
      const x = ((Date.parse(range.from) - from) / span) * canvas.width;
      const end = ((Date.parse(range.to) - from) / span) * canvas.width;
      pen.fillStyle = style.getPropertyValue(colour);
      pen.fillRect(x, top * canvas.height, Math.max(end - x, 1), height * canvas.height);
    };
    timeline?.recorded.forEach((range) => bar(range, '--recorded', 0.25, 0.75));
    timeline?.gaps.forEach((range) => bar(range, '--gap', 0.6, 0.4));
    if (this.played) bar({ from: new Date(this.moment()), to: new Date(this.moment()) }, '--accent', 0, 1);
  }

  moment() {
    if (this.stood) return this.stood.at;
    if (!this.played) return this.live?.moment() ?? Date.now();
    return this.began === null ? this.played : this.began + this.video.currentTime * 1000;
  }

  tick() {
    this.time.textContent = new Date(this.moment()).toLocaleString();
  }
}

class Page {
  constructor() {
    this.views = new Map();
    const at = (id) => document.getElementById(id);
    [this.login, this.logout, this.trouble, this.span, this.list] = ['login', 'logout', 'trouble', 'span', 'cameras'].map(at);
    this.span.onchange = () => this.refresh();
    this.login.onsubmit = (event) => { event.preventDefault(); this.logIn(new FormData(this.login)); };
    this.logout.onclick = () => this.logOut();
    document.addEventListener('keydown', (event) => {
      const direction = { ArrowLeft: 'backwards', ArrowRight: 'forwards' }[event.key];
      // A video's own keys are its own.
      if (!direction || event.target.matches('input, select, video') || !View.shown?.played) return;
      event.preventDefault();
      View.shown.step(direction);
    });
    setInterval(() => this.views.forEach((view) => view.tick()), 500);
    this.begin();
  }

  async begin() {
    try {
      const session = await ask('session');
      Page.token = session.forgery_token;
      Page.mayReturn = session.grant.role === 'admin' && session.grant.cameras === 'all';
      this.logout.hidden = !Page.token;
      this.login.hidden = true;
      this.refresh();
    } catch (error) {
      this.login.hidden = !(error instanceof Unknown);
      if (!(error instanceof Unknown)) this.say(error.message);
    }
  }

  static forgery() {
    return Page.token ? { 'x-keha-forgery-token': Page.token } : {};
  }

  async logIn(form) {
    const body = JSON.stringify(Object.fromEntries(form));
    try {
      await ask('session', { method: 'POST', headers: { 'content-type': 'application/json' }, body });
      this.login.reset();
      this.begin();
    } catch (error) {
      document.getElementById('refused').textContent = error.message;
    }
  }

  async logOut() {
    await ask('session', { method: 'DELETE', headers: Page.forgery() });
    location.reload();
  }

  say(text) {
    this.trouble.textContent = text;
    this.trouble.hidden = !text;
  }

  async refresh() {
    clearTimeout(this.again);
    this.again = setTimeout(() => this.refresh(), 3000);
    const span = Number(this.span.value) * 1000;
    const from = Date.now() - span;
    try {
      const query = `from=${new Date(from).toISOString()}&to=${new Date().toISOString()}&resolution=${Math.max(1, Math.round(span / 600000))}s`;
      const [cameras, timelines] = await Promise.all([ask('cameras'), ask(`timeline?${query}`)]);
      this.say(cameras.length ? '' : 'There is no camera yet: add one to keha.toml, or with POST /api/v1/cameras.');
      for (const camera of cameras) {
        const view = this.views.get(camera.name) ?? new View(camera);
        if (!this.views.has(camera.name)) {
          this.views.set(camera.name, view);
          this.list.append(view.root);
        }
        view.update(camera);
        view.draw(timelines.find((timeline) => timeline.camera === camera.name), from, span);
      }
      for (const [name, view] of this.views) {
        if (!cameras.some((camera) => camera.name === name)) {
          view.live?.stop();
          view.root.remove();
          this.views.delete(name);
        }
      }
    } catch (error) {
      if (error instanceof Unknown) location.reload();
      else this.say(`The server does not answer: ${error.message}`);
    }
  }
}

new Page();
